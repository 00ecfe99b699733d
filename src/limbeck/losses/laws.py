# ruff: noqa: D401 - the docstring of a law states the law
"""Laws that every loss on scores obeys; ``python -m limbeck.losses.laws NAME`` tests all of them on one loss.

For a loss in your own package: ``LIMBECK_PACKAGES=mypackage python -m limbeck.losses.laws myloss``.

Each law is tested with the default options and with each other choice of a ``Literal`` option; most are tested in
float64 and in float32 under autocast. A loss declares the laws it does not obey in its decorator (``on_scores``).
"""

import argparse
import math
from collections.abc import Callable
from importlib import import_module
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from limbeck.config import entries, own_parts
from limbeck.losses.cases import Case, cases
from limbeck.losses.on_scores import contract
from limbeck.losses.worlds import Columns, of_type, tied_world, world

SINGLE, DOUBLE = torch.float32, torch.float64
_ORDER = torch.tensor([4, 0, 6, 2, 5, 1, 3])


def near(found: Any, expected: Any, *, rtol: float | None = None, atol: float | None = None) -> None:
    """Raise ``AssertionError`` unless two tensors, or tuples of tensors, agree; exactly with ``rtol=0, atol=0``."""
    torch.testing.assert_close(found, expected, rtol=rtol, atol=atol)


def shape_and_type(case: Case, dtype: torch.dtype) -> None:
    """The loss returns one value per query, in float32 or better."""
    data = world(dtype=dtype)
    assert case(data).shape == (4,)
    assert case(data).dtype == dtype
    assert case(of_type(data, torch.bfloat16)).dtype == SINGLE


def blind_to_padding(case: Case, dtype: torch.dtype) -> None:
    """The content of padding changes no bit of value or gradient, and receives no gradient."""
    data = world(dtype=dtype)
    padding, expected = ~data["mask"], case.value_and_gradient(data)
    for garbage in (7.0, 1e30, -1e30, math.nan, math.inf, -math.inf):
        changed = {key: value.clone() for key, value in data.items()}
        for column in ("student", "teacher", "labels"):
            changed[column][padding] = garbage
        changed["ranks"][padding] = 0
        near(case.value_and_gradient(changed), expected, rtol=0, atol=0)
    assert (expected[1][padding] == 0).all()


def padding_is_absence(case: Case, dtype: torch.dtype) -> None:
    """A padded list has the value and the gradient of the list without padding."""
    data = world(dtype=dtype)
    values, gradient = case.value_and_gradient(data)
    short = {key: value[:1, :5] for key, value in data.items()}
    near(case.value_and_gradient(short), (values[:1], gradient[:1, :5]))


def order_of_candidates(case: Case, dtype: torch.dtype) -> None:
    """The order in which candidates are listed changes nothing, even with ties."""
    listed = contract(case.function).by_listing
    one_positive = any(case.options.get(name) == value for name, value in listed.items())
    for data in (world(dtype=dtype), *(tied_world(seed=seed, dtype=dtype) for seed in range(3))):
        if one_positive:
            data["labels"] = torch.where(torch.arange(7) == data["labels"].nan_to_num().argmax(-1, True), 2.0, 0.0)
        values, gradient = case.value_and_gradient(data)
        for order in (_ORDER, *(torch.randperm(7, generator=torch.Generator().manual_seed(n)) for n in range(4))):
            moved = {key: value[:, order] for key, value in data.items()}
            near(case.value_and_gradient(moved), (values, gradient[:, order]))


def queries_apart(case: Case, dtype: torch.dtype) -> None:
    """The value of a query depends on no other query."""
    data, rows = world(dtype=dtype), torch.tensor([2, 0, 3, 1])
    near(case({key: value[rows] for key, value in data.items()}), case(data)[rows])


def shift(case: Case, dtype: torch.dtype) -> None:
    """Adding a constant to all student scores of a query changes nothing, unless ``shift_invariant=False``."""
    data = world(dtype=dtype)
    values, gradient = case.value_and_gradient(data)
    shifted = case.value_and_gradient({**data, "student": data["student"] + 3.0})
    if not contract(case.function).shift_invariant:
        assert (shifted[0] - values).abs().max() > 0.1
        return
    near(shifted, (values, gradient), **({} if dtype == DOUBLE else {"rtol": 1e-4, "atol": 1e-5}))
    near(gradient.sum(-1), torch.zeros_like(values), rtol=0, atol=1e-9 if dtype == DOUBLE else 1e-5)


def finite_at_extremes(case: Case, dtype: torch.dtype) -> None:
    """Scores of ±1000 give finite values and gradients, in bfloat16 too."""
    data, signs = world(dtype=dtype), torch.tensor([[1, -1, 1, -1, 0.5, 1, -1]])
    for size in (30.0, 1000.0):
        for student, teacher in ((size, size), (size, -size), (-size, size), (0.0, size), (size, 0.0)):
            extreme = {**data, "student": (signs * student).expand(4, 7), "teacher": (signs * teacher).expand(4, 7)}
            for kind in (torch.bfloat16, SINGLE, dtype):
                values, gradient = case.value_and_gradient(of_type(extreme, kind))
                assert values.isfinite().all()
                assert gradient.isfinite().all()


def one_sided_and_tied(case: Case, dtype: torch.dtype) -> None:
    """Lists with only positives, only negatives or only ties give finite numbers; an empty list gives 0."""
    data = world(dtype=dtype)
    tied = {**data, "student": torch.ones_like(data["student"]), "teacher": torch.ones_like(data["teacher"])}
    for columns in (data, tied):
        for grade in (0.0, 1.0):
            values, gradient = case.value_and_gradient({**columns, "labels": torch.full_like(data["labels"], grade)})
            assert values.isfinite().all()
            assert gradient.isfinite().all()
    data["mask"][1] = False
    values, gradient = case.value_and_gradient(data)
    assert values[1] == 0
    assert (gradient[1] == 0).all()


def teacher_has_no_gradient(case: Case, dtype: torch.dtype) -> None:
    """Teacher scores that require a gradient receive none, whether or not the student's do."""
    data = world(dtype=dtype)
    data["teacher"].requires_grad_()
    assert not case(data).requires_grad
    data["student"].requires_grad_()
    case(data).sum().backward()
    assert data["teacher"].grad is None


def reads_what_it_says(case: Case, dtype: torch.dtype) -> None:
    """An input that the loss reads must be given and changes the value; one that it does not read may be None."""
    data = world(dtype=dtype)
    values = case(data)
    changed = {
        "teacher": data["teacher"].flip(0) * 2,
        "labels": data["labels"].flip(-1),
        "ranks": data["ranks"].flip(-1),
    }
    for name, other in changed.items():
        if name in case.reads():
            assert not torch.equal(case({**data, name: other}), values), f"{name} is read, but changes nothing"
            refused(case, {**data, name: None}, f"{name} must be given")  # pyright: ignore[reportArgumentType]
        elif name in contract(case.function).inputs:
            near(case({**data, name: torch.full_like(other, -5)}), values, rtol=0, atol=0)
            near(case({**data, name: None}), values, rtol=0, atol=0)  # pyright: ignore[reportArgumentType]
    if "order" in contract(case.function).marks.get("teacher", ()):
        near(case({**data, "teacher": (data["teacher"] / 4).exp()}), values, rtol=0, atol=0)


def writes_to_nothing(case: Case, dtype: torch.dtype) -> None:
    """The loss does not modify its inputs."""
    data = world(dtype=dtype)
    before = {key: value.clone() for key, value in data.items()}
    case.value_and_gradient(data)
    near(list(data.values()), list(before.values()), rtol=0, atol=0)


def refuses(case: Case, dtype: torch.dtype) -> None:
    """A mask that is not bool, a wrong shape, and NaN raise an error that names the input."""
    data = world(dtype=dtype)
    refused(case, {**data, "mask": data["mask"].float()}, "mask must be")
    for name in case.reads():
        if name != "mask":
            refused(case, {**data, name: data[name][:, :-1]}, f"{name} must have the shape of the mask")
            spoiled = data[name].double().clone()
            spoiled[1, 2] = math.nan
            refused(case, {**data, name: spoiled}, f"{name} must be finite numbers")


def refused(case: Case, data: Columns, start: str) -> None:
    """Raise ``AssertionError`` unless the call raises a ``ValueError`` whose message begins with ``start``."""
    try:
        case(data)
    except ValueError as error:
        if str(error).startswith(start):
            return
        raise
    raise AssertionError(f"not refused: {start} …")


def autocast_changes_no_bit(case: Case) -> None:
    """A call with float32 or bfloat16 scores gives the same bits with and without autocast."""
    for kind in (SINGLE, torch.bfloat16):
        data = of_type(world(dtype=SINGLE), kind)
        expected = case.value_and_gradient(data)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            near(case.value_and_gradient(data), expected, rtol=0, atol=0)


def float32_is_near_float64(case: Case) -> None:
    """Values in float32 agree with float64 to 1e-5, gradients to 1e-4."""
    data = world()
    single = {key: value.float() if value.is_floating_point() else value for key, value in data.items()}
    data = {key: value.double() if value.is_floating_point() else value for key, value in single.items()}
    values, gradient = case.value_and_gradient(single)
    expected, expected_gradient = case.value_and_gradient(data)
    near(values.double(), expected, rtol=1e-5, atol=1e-5)
    near(gradient.double(), expected_gradient, rtol=1e-4, atol=1e-5)


def derivatives(case: Case) -> None:
    """First and second derivatives agree with finite differences."""
    data = {key: value[[0, 3], :6] for key, value in world().items()}
    student = data["student"].requires_grad_()
    assert torch.autograd.gradcheck(lambda scores: case({**data, "student": scores}), (student,))
    assert torch.autograd.gradgradcheck(lambda scores: case({**data, "student": scores}), (student,))


def functional(case: Case) -> None:
    """``torch.func.vmap`` over queries, and ``grad``, give the values and gradients of the batch."""
    data = world()
    values, gradient = case.value_and_gradient(data)

    def of_list(*columns: Tensor) -> Tensor:
        names = contract(case.function).inputs
        return case(dict(zip(names, (column.unsqueeze(0) for column in columns), strict=True))).squeeze(0)

    near(vmap(of_list)(*case.columns(data)), values)
    near(vmap(grad(of_list))(*case.columns(data)), gradient)


def compiles(*together: Case, backend: str = "aot_eager") -> None:
    """``torch.compile`` compiles value and gradient as one graph, with the same results."""
    data = world()
    torch.compiler.reset()

    def values(*columns: Tensor) -> list[Tensor]:
        given = dict(zip(data, columns, strict=True))
        return [case(given) for case in together]

    compiled = torch.compile(values, fullgraph=True, backend=backend)
    student = data["student"].clone().requires_grad_()
    found = compiled(*{**data, "student": student}.values())
    (gradient,) = torch.autograd.grad(torch.stack(found).sum(), student)
    expected = [case.value_and_gradient(data) for case in together]
    near([each.detach() for each in found], [value for value, _ in expected])
    near(gradient, torch.stack([slope for _, slope in expected]).sum(0))


IN_TWO_PRECISIONS = (
    shape_and_type,
    blind_to_padding,
    padding_is_absence,
    order_of_candidates,
    queries_apart,
    shift,
    finite_at_extremes,
    one_sided_and_tied,
    teacher_has_no_gradient,
    reads_what_it_says,
    writes_to_nothing,
    refuses,
)
ONCE = (autocast_changes_no_bit, float32_is_near_float64, derivatives, functional, compiles)


def broken(case: Case, *, without: tuple[Callable[..., None], ...] = ()) -> list[str]:
    """Return the laws that a loss breaks, each with its error; skip those in ``without``."""
    twice, once = ([law for law in laws if law not in without] for laws in (IN_TWO_PRECISIONS, ONCE))
    found = [line for law in once for line in _broken(law, case)]
    for law, dtype in product(twice, (DOUBLE, SINGLE)):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == SINGLE):
            found += _broken(law, case, dtype)
    return found


def _broken(law: Callable[..., None], case: Case, *more: torch.dtype) -> list[str]:
    try:
        law(case, *more)
    except Exception as error:
        where = " ".join(map(str, (law.__name__, *(f"{name}={value}" for name, value in case.options.items()), *more)))
        return [f"{where}: {law.__doc__}\n    {type(error).__name__}: {error}"]
    return []


def main() -> None:
    """Test the laws on a loss, print those that it breaks, and exit with an error if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", help="registered name of the loss")
    name = parser.parse_args().name
    entry = entries().get(("loss", name))
    if entry is None or entry.builder is None:
        known = ", ".join(sorted(each.name for each in entries().values() if each.kind == "loss" and each.builder))
        raise SystemExit(f"{name} is no loss on scores; known are {known}\n{own_parts()}")
    module, _, attribute = entry.path.rpartition(".")
    tried = cases(getattr(import_module(module), attribute))
    lines = [line for case in tried for line in broken(case)]
    count = len(tried) * (2 * len(IN_TWO_PRECISIONS) + len(ONCE))
    print(f"{name}: {count} checks of {len(IN_TWO_PRECISIONS) + len(ONCE)} laws, {len(lines)} failed")
    if lines:
        raise SystemExit("\n".join(lines))


if __name__ == "__main__":
    main()
