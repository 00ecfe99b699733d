import json

import pytest

WORDS = [
    "train",
    "loss=kl",
    "data.world.dev=40",
    "candidates.depth=200",
    "eval.dev_depth=200",
    "eval.start=false",
    "eval.teacher=false",
    "eval.split=dev",
    "eval.checkpoint=last",
]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_searched_validation_has_the_figure_of_the_search(limbeck, tmp_path, precision):
    """The candidates of all dev queries are, together, the whole collection of 200 documents."""
    dev = {}
    for searched in ("true", "false"):
        words = [f"trainer.precision={precision}", f"eval.dev_search={searched}", f"name=dev_{searched}"]
        status, _, err = limbeck(*WORDS, *words)
        assert status == 0, err
        (result,) = (tmp_path / "runs" / f"dev_{searched}").glob("*/result.json")
        validations = (result.parent / "validations.jsonl").read_text().splitlines()
        dev[searched] = json.loads(validations[-1])["value"]
        rows = {row["key"]: row["ndcg@10"] for row in json.loads(result.read_text())["rows"]}
    assert dev["true"] == pytest.approx(rows["student"], abs=1e-6)
    assert dev["false"] != pytest.approx(rows["student"], abs=1e-3)
