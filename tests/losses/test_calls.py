"""Wrong calls on plain tensors are refused by name, by every registered loss; without a mask all candidates count."""

import ast
import inspect
from pathlib import Path

import pytest
import torch
from loss_worlds import LOSSES, NAMES, ON_SCORES, function, world

import limbeck.losses
from limbeck.losses.info_nce import info_nce
from limbeck.losses.on_scores import contract

ANY = pytest.mark.parametrize("name", ON_SCORES)


def columns(name, **changed):
    """Arguments of a call by name."""
    data = {**world(), **changed}
    return {each: data[each] for each in contract(function(name)).inputs}


def read(name):
    what = contract(function(name))
    return what.reads(what.defaults)


def test_every_registered_loss_is_a_function_of_the_package():
    assert {name: callable(getattr(limbeck.losses, name)) for name in LOSSES} == dict.fromkeys(NAMES, True)


def test_editors_see_every_function():
    tree = ast.parse(Path(inspect.getfile(limbeck.losses)).read_text())
    seen = {
        node.module: [each.asname for each in node.names] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
    }
    assert {f"limbeck.losses.{name}": [name] for name in NAMES}.items() <= seen.items()


@ANY
def test_without_a_mask_all_candidates_count(name):
    given = columns(name, mask=torch.ones(4, 7, dtype=torch.bool))
    expected = function(name)(**given)
    del given["mask"]
    assert torch.equal(function(name)(**given, mask=None), expected)
    assert torch.equal(function(name)(**given), expected)
    assert inspect.signature(function(name)).parameters["mask"].default is None


@ANY
@pytest.mark.parametrize("mask", [torch.ones(4, 7), torch.ones(4, 7, dtype=torch.long)], ids=["float", "long"])
def test_a_mask_that_is_no_bool(name, mask):
    with pytest.raises(ValueError, match=r"^mask must be of type bool, .* got torch\.(float32|int64)$"):
        function(name)(**columns(name, mask=mask))


@ANY
def test_shapes_that_differ(name):
    for each in read(name):
        cut = {each: world()[each][:, :6]}
        # Where it is the mask that differs, the first of the others is named.
        wrong = "student" if each == "mask" else each
        with pytest.raises(
            ValueError, match=rf"^{wrong} must have the shape of the mask, \(4, \d\) for \(B, L\), got "
        ):
            function(name)(**columns(name, **cut))
        if each not in ("student", "mask"):
            with pytest.raises(ValueError, match=rf"^{each} must have the shape of the student, \(4, 7\)"):
                function(name)(**columns(name, **cut, mask=None))


@ANY
def test_what_is_missing_or_no_tensor(name):
    for each in read(name):
        if each != "mask":
            with pytest.raises(ValueError, match=rf"^{each} must be given: {name} reads {each}"):
                function(name)(**columns(name, **{each: None}))
        with pytest.raises(ValueError, match=rf"^{each} must be a tensor, got list$"):
            function(name)(**columns(name, **{each: [[1.0]]}))
    with pytest.raises(TypeError, match=rf"^{name}\(\) missing a required argument: 'student'$"):
        function(name)()


RANKED = [name for name in ON_SCORES if "ranks" in read(name)]


@pytest.mark.parametrize("name", RANKED)
def test_ranks_below_one(name):
    ranks = world()["ranks"].clone()
    ranks[2, 1] = 0
    with pytest.raises(ValueError, match=r"^ranks must be finite numbers >= 1, got 0.* for query 2, candidate 1 "):
        function(name)(**columns(name, ranks=ranks))


def test_ckl_reads_ranks():
    assert RANKED == ["ckl"]


@pytest.mark.parametrize(
    "name", [name for name in ON_SCORES if contract(function(name)).rules], ids=lambda name: f"options-{name}"
)
def test_options_out_of_range(name):
    for option in contract(function(name)).rules:
        with pytest.raises(ValueError, match=rf"^{option} must be "):
            function(name)(**columns(name), **{option: float("-inf")})
    with pytest.raises(TypeError, match=rf"^{name}\(\) got an unexpected keyword argument 'nothing'$"):
        function(name)(**columns(name), nothing=1)


@pytest.mark.parametrize(("gamma", "alpha"), [(1.0, 1.0), (0.5, 1.0), (0.0, 0.5)])
def test_exponents_of_ckl(gamma, alpha):
    with pytest.raises(ValueError, match=r"^gamma must be > alpha"):
        function("ckl")(**columns("ckl"), gamma=gamma, alpha=alpha)


@pytest.mark.parametrize("name", ["flops", "l1"])
def test_regularisers(name):
    with pytest.raises(ValueError, match=r"^embeddings must be a tensor \(N, V\), .* got list$"):
        function(name)([[1.0]])
    with pytest.raises(ValueError, match=r"^embeddings must be a tensor \(N, V\), .* got \(3,\)$"):
        function(name)(torch.ones(3))
    with pytest.raises(ValueError, match=r"^weights must be \(3,\), one a text, got \(2,\)$"):
        function(name)(torch.ones(3, 2), weights=torch.ones(2))


@pytest.mark.parametrize("name", ["embedding_mse", "embedding_cosine"])
def test_vectors_beside_the_teachers(name):
    with pytest.raises(ValueError, match=r"^student must be a tensor \(N, D\), .* got list$"):
        function(name)([[1.0]], torch.ones(1, 1))
    with pytest.raises(ValueError, match=r"^teacher must be a tensor \(N, D\), .* got \(3,\)$"):
        function(name)(torch.ones(3, 1), torch.ones(3))
    with pytest.raises(ValueError, match=r"^teacher must have the shape of student, \(3, 2\), got \(3, 4\)$"):
        function(name)(torch.ones(3, 2), torch.ones(3, 4))
    half = torch.randn(3, 2).bfloat16()
    assert function(name)(half, half).dtype == torch.float32


def test_further_negatives():
    given, others = columns("info_nce"), torch.randn(4, 3)
    every = torch.ones(4, 3, dtype=torch.bool)
    assert torch.equal(info_nce(**given, others=others), info_nce(**given, others=others, others_mask=every))
    for wrong in (others[:3], others[0], [1.0]):
        with pytest.raises(ValueError, match=r"^others must be a tensor \(B, M\) with B = 4 queries, got"):
            info_nce(**given, others=wrong)
    for mask in (every[:, :2], every.float()):
        with pytest.raises(
            ValueError, match=r"^others_mask must be of type bool and have the shape of others, \(4, 3\)"
        ):
            info_nce(**given, others=others, others_mask=mask)
