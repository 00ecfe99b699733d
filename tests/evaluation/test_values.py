import pytest

from limbeck.evaluation.values import aligned


def test_seeds_are_averaged_and_queries_sorted():
    queries, (one, two) = aligned([{"b": 1.0, "a": 0.0}], [{"a": 0.2, "b": 0.4}, {"b": 0.8, "a": 0.4}])
    assert queries == ["a", "b"]
    assert one.tolist() == [0, 1]
    assert two == pytest.approx([0.3, 0.6])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_named(value):
    with pytest.raises(ValueError, match=r"the value of query 'b' is (nan|inf)"):
        aligned([{"a": 0.0, "b": 0.0}], [{"a": 0.0, "b": 0.5}, {"a": 0.0, "b": value}])


def test_no_queries():
    with pytest.raises(ValueError, match="no queries"):
        aligned([{}])
