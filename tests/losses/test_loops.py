"""Every registered loss, values and gradients in float64, against explicit loops: see ``loops.py``."""

import inspect
from itertools import product

import loops
import pytest
import torch
from loss_worlds import NAMES, ON_SCORES, batch_of, call, function, made, options_of, output_of, tied_world, world

from limbeck.losses.ranks import over_ties, ranks_by

TEMPERATURES = [
    {}, {"student_temperature": 0.5}, {"teacher_temperature": 2.5},
    {"student_temperature": 1.7, "teacher_temperature": 0.8},
]  # fmt: skip
SIDES = [{}, {"query_weight": 0.3}, {"query_weight": 0.5, "document_weight": 0.7}, {"warmup_steps": 4}]
PARAMETERS = {
    "kl": TEMPERATURES,
    "reverse_kl": TEMPERATURES,
    "js": [*TEMPERATURES, {"beta": 0.2}, {"beta": 0.9, "student_temperature": 0.6}],
    "bkl": [*TEMPERATURES, {"beta": 0.7}],
    "kl_ll": [*TEMPERATURES, {"beta": 0.7}],
    "ckl": [
        *TEMPERATURES, {"gamma": 1.5, "alpha": 0.0}, {"gamma": 2.0, "alpha": 1.7}, {"reduction": "mean"},
        {"rank_source": "student"}, {"rank_anchor": "first"}, {"rank_anchor": "mean", "alpha": 1.5},
        {"gamma": 0.0, "alpha": 0.0}, {"detach_weights": True}, {"detach_weights": True, "student_temperature": 0.5},
        {"rank_source": "student", "rank_anchor": "mean", "gamma": 2.5, "reduction": "mean"},
        {"positive_exponent": "rank"}, {"positive_exponent": "rank", "rank_anchor": "first", "gamma": 2.0},
        {"negative_log": "complement"}, {"negative_log": "complement", "gamma": 2.0, "alpha": 1.5},
    ],
    "projected_kl": [
        *TEMPERATURES, {"mass": 0.8}, {"mass": 0.2}, {"against": "best"}, {"against": "best", "mass": 0.7},
        {"against": "best", "teacher_temperature": 2.0, "mass": 0.3}, {"evidence": "order"},
        {"evidence": "order", "mass": 0.9}, {"evidence": "order", "against": "best", "mass": 0.8},
        {"evidence": "student"}, {"evidence": "student", "mass": 0.9},
        {"evidence": "student", "against": "best", "mass": 0.9},
    ],
    "focal_kl": [*TEMPERATURES, {"gamma": 0.5}, {"gamma": 0.0}],
    "margin_mse": [{}],
    "mse": [{}],
    "bce": [*TEMPERATURES, {"target": "labels"}, {"target": "labels", "student_temperature": 0.5}],
    "list_net": [*TEMPERATURES, {"target": "labels"}, {"target": "labels", "teacher_temperature": 0.5}],
    "ranknet": [{}, {"sigma": 0.3}],
    "hinge": [{}, {"margin": 0.3}, {"margin": 0.5}],
    "rank_mse": [{}, {"temperature": 0.2}],
    "adr_mse": [{}, {"temperature": 0.2}, {"discount": "reciprocal"}],
    "approx_ndcg": [{}, {"temperature": 0.8}, {"gain": "linear", "temperature": 0.5}],
    "lambda_loss": [{}, {"mu": 0.0}, {"sigma": 2.0}, {"mu": 3.0, "sigma": 0.4}],
    "info_nce": [{}, {"temperature": 0.05}, {"others": True}, {"others": True, "temperature": 0.4}],
    "cl_drd": [{}, {"top": 1}, {"top": 2}, {"top": 3}, {"top": 30}],
    "flops": SIDES,
    "l1": SIDES,
    "embedding_mse": SIDES[:3],
    "embedding_cosine": SIDES[:3],
}  # fmt: skip
CASES = [(name, options) for name, several in PARAMETERS.items() for options in several]
IDS = [name + "".join(f"-{key}={value}" for key, value in options.items()) for name, options in CASES]


def test_every_registered_loss_has_its_loop_and_every_option_another_value():
    assert set(PARAMETERS) == set(NAMES)
    assert all(callable(getattr(loops, name)) for name in NAMES)
    elsewhere = {"weight", "schedules", "gather", "in_batch", "others_mask"}
    for name in NAMES:
        of = inspect.signature(function(name)).parameters.values()
        options = {each.name: each.default for each in of if each.kind is each.KEYWORD_ONLY}
        for key, default in (options if name in ON_SCORES else options_of(name)).items():
            if key not in elsewhere:
                given = [options[key] for options in PARAMETERS[name] if key in options]
                assert any(value != default for value in given), f"{name}: {key}"


def close(found, expected):
    expected = torch.tensor([complex(value).real for value in expected], dtype=torch.float64)
    torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-10)


ON_LISTS = [(case, name) for case, name in zip(CASES, IDS, strict=True) if case[0] in ON_SCORES]


@pytest.mark.parametrize(("name", "options"), [case for case, _ in ON_LISTS], ids=[name for _, name in ON_LISTS])
def test_value_and_gradient_of_a_list(name, options):
    for made_up, seed in product((world, tied_world), (0, 1)):
        hold_against_the_loop(name, options, made_up(seed=seed), seed)


def hold_against_the_loop(name, options, data, seed):
    student = data["student"].requires_grad_()
    others = torch.randn(len(student), 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    others[1, 1], others[2, :] = torch.nan, torch.inf
    others_mask = others.isfinite()
    others.requires_grad_()
    more = {"others": others, "others_mask": others_mask} if options.get("others") else {}
    values = call(name, data, **{**options, **more})
    gradient, of_others = torch.autograd.grad(values.sum(), (student, others), allow_unused=True)
    assert (gradient[~data["mask"]] == 0).all()
    loop = getattr(loops, name)
    for row, mask in enumerate(data["mask"]):
        s, t, y, r = (data[key][row, mask].tolist() for key in ("student", "teacher", "labels", "ranks"))
        extra = {"others": others[row, others_mask[row]].tolist()} if more else {}
        settings = {**options, **extra}
        close(values[row : row + 1], [loop(s, t, y, r, **settings)])
        close(gradient[row, mask], loops.gradient(loop, s, t, y, r, **settings))
        if more:
            given = settings.pop("others"), s, t, y, r
            by_others = loops.gradient(loops.info_nce_by_others, *given, **settings)
            close(of_others[row, others_mask[row]], by_others)


@pytest.mark.parametrize("options", SIDES, ids=str)
@pytest.mark.parametrize("name", ["flops", "l1"])
def test_value_and_gradient_of_embeddings(name, options):
    data = world()
    output, batch = output_of(data), batch_of(data)
    output.queries[0, 1] = output.documents[2, 2] = 0.0  # of |w| torch takes the derivative 0 there
    output.documents[3] = output.documents[4]
    output.queries.requires_grad_()
    output.documents.requires_grad_()
    term = made(name, **options)
    term.at(1)
    value = term(output, batch)
    found = torch.autograd.grad(value, (output.queries, output.documents))
    ramp = 1 / 4 if "warmup_steps" in options else 1.0  # (2/4)²
    weights = [options.get("query_weight", 1.0), options.get("document_weight", 1.0)]
    expected = 0.0
    for side, weight, gradient in zip((output.queries, output.documents), weights, found, strict=True):
        width = side.shape[1]

        def loop(flat, width=width):
            return getattr(loops, name)([flat[k : k + width] for k in range(0, len(flat), width)])

        flat = side.flatten().tolist()
        expected += ramp * weight * loop(flat)
        close(gradient.flatten(), [ramp * weight * each for each in loops.gradient(loop, flat)])
    close(value[None], [expected])


@pytest.mark.parametrize("options", SIDES[:3], ids=str)
@pytest.mark.parametrize("name", ["embedding_mse", "embedding_cosine"])
def test_value_and_gradient_of_vectors_beside_the_teachers(name, options):
    data = world()
    output, batch = output_of(data), batch_of(data)
    targets = batch.teacher_queries.requires_grad_(), batch.teacher_documents.requires_grad_()
    sides = output.queries.requires_grad_(), output.documents.requires_grad_()
    value = made(name, **options)(output, batch)
    found = torch.autograd.grad(value, (*sides, *targets), allow_unused=True)
    assert found[2:] == (None, None)
    weights = [options.get("query_weight", 1.0), options.get("document_weight", 1.0)]
    expected = 0.0
    for side, target, weight, gradient in zip(sides, targets, weights, found[:2], strict=True):
        rows = list(zip(side.tolist(), target.tolist(), strict=True))
        expected += weight * loops.mean(getattr(loops, name)(s, t) for s, t in rows)
        for (s, t), slope in zip(rows, gradient, strict=True):
            close(slope, [weight * each / len(rows) for each in loops.gradient(getattr(loops, name), s, t)])
    close(value[None], [expected])


def test_the_loops_give_derivatives():
    """Of a sum of squares, 2 s; and where a loop looks at real parts alone, none."""
    assert loops.gradient(lambda s: sum(x * x for x in s), [1.5, -2.0]) == [3.0, -4.0]
    assert loops.gradient(lambda s: sum(loops.shared_ranks(s)), [1.5, -2.0]) == [0.0, 0.0]


def test_the_groups_of_cl_drd_are_those_of_the_authors():
    """Of 30 candidates the best 5 are ordered one by one, 12 follow and 13 are last."""
    data = {key: value[:1] for key, value in world(candidates=30, seed=3).items()}
    data["mask"][:] = True
    t = data["teacher"][0].tolist()
    best = sorted(range(30), key=lambda i: -t[i])
    group = {i: place if place <= 5 else 6 if place <= 17 else 7 for place, i in enumerate(best, 1)}
    assert loops.groups(t, 5) == [group[i] for i in range(30)]
    close(call("cl_drd", data, top=5), [loops.cl_drd(data["student"][0].tolist(), t, None, None, top=5)])


def test_ties_weigh_the_mean_over_their_orders():
    data = tied_world(seed=2)
    weight = torch.randn(7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    weight = weight + weight.T
    found = over_ties(weight, data["student"], data["mask"])
    for row, mask in enumerate(data["mask"]):
        s = data["student"][row, mask].tolist()
        expected = torch.tensor(loops.over_orders(lambda i, j: weight[i - 1, j - 1].item(), s), dtype=torch.float64)
        apart = ~torch.eye(len(s), dtype=torch.bool)
        torch.testing.assert_close(found[row][mask][:, mask][apart], expected[apart], rtol=1e-12, atol=1e-12)


def test_padding_is_ranked_last():
    scores = torch.tensor([[1.0, torch.nan, 3.0, torch.inf, 2.0]])
    mask = torch.tensor([[True, False, True, False, True]])
    assert ranks_by(scores, mask).tolist() == [[3, 4, 1, 5, 2]]


def test_ranks_keep_the_listed_order_in_long_ties():
    scores = torch.ones(1, 300)
    scores[0, 250] = 2.0
    expected = torch.cat([torch.arange(2, 252), torch.tensor([1]), torch.arange(252, 301)])
    assert ranks_by(scores, torch.ones(1, 300, dtype=torch.bool)).squeeze(0).tolist() == expected.tolist()
