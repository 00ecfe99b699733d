import importlib
import inspect
from typing import Annotated, Any, get_origin

import pytest

from limbeck.config import entries
from limbeck.losses import ranges
from limbeck.registry import Entry, Parameter, RegistryError, register, scan


def written(tmp_path, text):
    (tmp_path / "part.py").write_text(text)
    return scan(tmp_path, "pkg")


def test_the_signature_is_the_schema(tmp_path):
    found = written(
        tmp_path,
        """
@register("loss", "x", parts=("inner",))
class X:
    def __init__(self, given, *, a: int, b: float | None = None, c: Literal["u", "v"] = "u", d: list[str] = ["k"]):
        pass
""",
    )
    expected = (
        Parameter("a", int, ...),
        Parameter("b", float | None, None),
        Parameter("c", str, "u"),
        Parameter("d", list[str], ["k"]),
    )
    assert found == {("loss", "x"): Entry("loss", "x", "pkg.part.X", expected, ("inner",))}


@pytest.mark.parametrize(
    ("signature", "message"),
    [
        ("*, a=1", r"part\.py:3: parameter a has no annotation"),
        ("*, a: Tensor = None", r"part\.py:3: parameter a: Tensor is no type"),
        ("*, a: int = len('x')", r"part\.py:3: parameter a: the default must be a literal"),
        ("**options", r"part\.py:3: \*\*options would swallow"),
    ],
)
def test_what_is_no_schema_is_refused_with_file_and_line(tmp_path, signature, message):
    with pytest.raises(RegistryError, match=message):
        written(tmp_path, f'@register("loss", "x")\n\ndef x({signature}): pass\n'.replace("\n\n", "\n#\n", 1))


def test_a_name_is_taken_once(tmp_path):
    with pytest.raises(RegistryError, match=r"loss 'x' is already registered by pkg\.part\.A"):
        written(tmp_path, '@register("loss", "x")\nclass A: pass\n@register("loss", "x")\nclass B: pass\n')
    importlib.import_module("limbeck.losses.ckl")
    with pytest.raises(RegistryError, match=r"loss 'ckl' is already registered by limbeck\.losses\.ckl\.ckl"):
        register("loss", "ckl")(object)


@pytest.mark.parametrize("entry", entries().values(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_static_schema_equals_the_imported_signature(entry):
    module, _, name = entry.path.rpartition(".")
    part = getattr(importlib.import_module(module), name)
    found = inspect.signature(part).parameters.values()
    options = {item.name: item.default for item in found if item.kind is inspect.Parameter.KEYWORD_ONLY}
    if entry.builder:  # a function that becomes a term
        options |= {"weight": 1.0, "schedules": None}
    expected = {
        item.name: inspect.Parameter.empty if item.default is ... else item.default for item in entry.parameters
    }
    assert options == expected


RANGED = {name: kind for name, kind in vars(ranges).items() if get_origin(kind) is Annotated}


def test_the_static_schema_knows_every_range(tmp_path):
    signature = ", ".join(f"o{number}: {name} = 1" for number, name in enumerate(RANGED))
    (entry,) = written(tmp_path, f'@register("check", "x")\ndef x(*, {signature}): pass\n').values()
    assert [item.type for item in entry.parameters] == [ranges.plain(kind) for kind in RANGED.values()]
    own = 'Annotated[int, Range("even")]'
    (entry,) = written(tmp_path, f'@register("check", "x")\ndef x(*, own: {own} = 2): pass\n').values()
    assert entry.parameters == (Parameter("own", int, 2),)


def test_a_function_that_is_a_loss_becomes_a_term_with_a_weight_and_schedules(tmp_path):
    text = '@register("loss", "x")\n@on_scores\ndef x(student, mask, *, a: Positive = 1.0): pass\n'
    (entry,) = written(tmp_path, text).values()
    expected = (Parameter("weight", float, 1.0), Parameter("a", float, 1.0), Parameter("schedules", Any, None))
    assert (entry.parameters, entry.builder) == (expected, "limbeck.losses.term.Term")
    (entry,) = written(tmp_path, '@register("loss", "x")\nclass X: pass\n').values()
    assert (entry.parameters, entry.builder) == ((), None)


def test_every_loss_is_in_the_file_of_its_name():
    for (kind, name), entry in entries().items():
        assert kind != "loss" or entry.path.startswith(f"limbeck.losses.{name}.")
