"""Every loss, with its default and other parameters, against explicit Python loops over one list at a time."""

import itertools
import math

import pytest
import torch
from loss_worlds import ON_SCORES, call, world

from limbeck.losses.ranking import ranks_by

e, ln = math.exp, math.log


def softmax(scores, temperature=1.0):
    top = max(scores) / temperature
    powers = [e(score / temperature - top) for score in scores]
    return [power / sum(powers) for power in powers]


def sigmoid(x):
    return 1 / (1 + e(-x))


def pq(s, t, student_temperature=1.0, teacher_temperature=1.0):
    return softmax(t, teacher_temperature), softmax(s, student_temperature)


def order(scores):
    """1-based ranks, ties in listed order."""
    best = sorted(range(len(scores)), key=lambda i: -scores[i])
    return [best.index(i) + 1 for i in range(len(scores))]


def kl(s, t, y, r, **o):
    return sum(p * ln(p / q) for p, q in zip(*pq(s, t, **o), strict=True))


def reverse_kl(s, t, y, r, **o):
    return sum(q * ln(q / p) for p, q in zip(*pq(s, t, **o), strict=True))


def js(s, t, y, r, beta=0.5, **o):
    total = 0.0
    for p, q in zip(*pq(s, t, **o), strict=True):
        m = beta * p + (1 - beta) * q
        total += beta * p * ln(p / m) + (1 - beta) * q * ln(q / m)
    return total


def bkl(s, t, y, r, beta=0.02, **o):
    _, q = pq(s, t, **o)
    terms = [q[i] * ln(q[i]) if y[i] > 0 else q[i] / ln(2) for i in range(len(s))]
    return kl(s, t, y, r, **o) + beta * sum(terms)


def kl_ll(s, t, y, r, beta=0.02, **o):
    _, q = pq(s, t, **o)
    return kl(s, t, y, r, **o) - beta * sum(ln(q[i]) for i in range(len(s)) if y[i] > 0)


def ckl(s, t, y, r, gamma=5.0, alpha=1.0, rank_source="stored", rank_anchor="best", reduction="sum", **o):
    r = order(s) if rank_source == "student" else r
    p, q = pq(s, t, **o)
    of_positives = [1 / r[i] for i in range(len(s)) if y[i] > 0] or [0.0]
    anchor = {"best": max, "first": lambda x: x[0], "mean": lambda x: sum(x) / len(x)}[rank_anchor](of_positives)
    total = 0.0
    for i in range(len(s)):
        weight = (1 - q[i]) ** gamma if y[i] > 0 else q[i] ** (gamma - alpha * (1 / r[i] - anchor))
        total += weight * p[i] * ln(p[i] / q[i])
    return total / len(s) if reduction == "mean" else total


def focal_kl(s, t, y, r, gamma=2.0, **o):
    p, q = pq(s, t, **o)
    return sum(((1 - q[i]) if y[i] > 0 else q[i]) ** gamma * p[i] * (ln(p[i]) - ln(q[i])) for i in range(len(s)))


def pairs(y):
    return [(j, i) for j in range(len(y)) for i in range(len(y)) if y[j] > 0 >= y[i]]


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def margin_mse(s, t, y, r):
    return mean(((s[j] - s[i]) - (t[j] - t[i])) ** 2 for j, i in pairs(y))


def hinge(s, t, y, r, margin=1.0):
    return mean(max(0.0, margin - (s[j] - s[i])) for j, i in pairs(y))


def mse(s, t, y, r):
    return mean((a - b) ** 2 for a, b in zip(s, t, strict=True))


def bce(s, t, y, r, target="teacher", student_temperature=1.0, teacher_temperature=1.0):
    total = []
    for i in range(len(s)):
        aim = sigmoid(t[i] / teacher_temperature) if target == "teacher" else float(y[i] > 0)
        said = sigmoid(s[i] / student_temperature)
        total.append(-aim * ln(said) - (1 - aim) * ln(1 - said))
    return mean(total)


def list_net(s, t, y, r, target="teacher", **o):
    p, q = pq(s, t if target == "teacher" else y, **o)
    return -sum(a * ln(b) for a, b in zip(p, q, strict=True))


def ranknet(s, t, y, r, sigma=1.0):
    both = itertools.product(range(len(s)), repeat=2)
    return mean(ln(1 + e(-sigma * (s[i] - s[j]))) for i, j in both if t[i] > t[j])


def soft_rank(s, i, temperature):
    return 1 + sum(sigmoid((s[j] - s[i]) / temperature) for j in range(len(s)) if j != i)


def rank_mse(s, t, y, r, temperature=1.0):
    ranks = order(t)
    return mean((soft_rank(s, i, temperature) - ranks[i]) ** 2 for i in range(len(s)))


def adr_mse(s, t, y, r, discount="log2", temperature=1.0):
    ranks = order(t)
    weight = {"log2": lambda k: 1 / math.log2(k + 1), "reciprocal": lambda k: 1 / k}[discount]
    return mean(weight(ranks[i]) * (soft_rank(s, i, temperature) - ranks[i]) ** 2 for i in range(len(s)))


def ideal(gains):
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains, reverse=True)))


def approx_ndcg(s, t, y, r, temperature=0.1, gain="exponential"):
    gains = [2 ** max(grade, 0) - 1 if gain == "exponential" else max(grade, 0) for grade in y]
    if not any(gains):
        return 0.0
    reached = sum(gains[i] / math.log2(1 + soft_rank(s, i, temperature)) for i in range(len(s)))
    return 1 - reached / ideal(gains)


def lambda_loss(s, t, y, r, mu=10.0, sigma=1.0):
    y = [max(grade, 0) for grade in y]
    gains = [2**grade - 1 for grade in y]
    best = ideal(gains)
    place = order(s)
    total = 0.0
    for i, j in itertools.product(range(len(s)), repeat=2):
        if y[i] > y[j]:
            rho = abs(1 / math.log2(1 + place[i]) - 1 / math.log2(1 + place[j]))
            apart = abs(place[i] - place[j])
            delta = abs(1 / math.log2(1 + apart) - 1 / math.log2(2 + apart))
            weight = (rho + mu * delta) * abs(gains[i] - gains[j]) / best
            total += weight * math.log2(1 + e(-sigma * (s[i] - s[j])))
    return total


def info_nce(s, t, y, r, temperature=1.0):
    q = softmax(s, temperature)
    return mean(-ln(q[i]) for i in range(len(s)) if y[i] > 0)


def cl_drd(s, t, y, r, top=5):
    by_teacher, place = order(t), order(s)
    rest = max(len(s) - top, 0)
    group = {}
    for i, rank in enumerate(by_teacher):
        group[i] = rank if rank <= top else top + 1 if rank - top <= math.ceil(rest / 2) else top + 2
    losses = [
        abs(1 / place[i] - 1 / place[j]) * ln(1 + e(-(s[i] - s[j])))
        for i, j in itertools.product(range(len(s)), repeat=2)
        if group[i] < group[j]
    ]
    return mean(losses)


TEMPERATURES = [{}, {"student_temperature": 0.5}, {"teacher_temperature": 2.5}]
PARAMETERS = {
    "kl": TEMPERATURES,
    "reverse_kl": TEMPERATURES,
    "js": [*TEMPERATURES, {"beta": 0.2}],
    "bkl": [*TEMPERATURES, {"beta": 0.7}],
    "kl_ll": [*TEMPERATURES, {"beta": 0.7}],
    "ckl": [
        *TEMPERATURES, {"gamma": 1.5, "alpha": 0.0}, {"gamma": 2.0, "alpha": 1.7}, {"reduction": "mean"},
        {"rank_source": "student"}, {"rank_anchor": "first"}, {"rank_anchor": "mean", "alpha": 1.5},
        {"gamma": 0.0, "alpha": 0.0},
    ],
    "focal_kl": [*TEMPERATURES, {"gamma": 0.5}, {"gamma": 0.0}],
    "margin_mse": [{}],
    "mse": [{}],
    "bce": [*TEMPERATURES, {"target": "labels"}],
    "list_net": [*TEMPERATURES, {"target": "labels"}],
    "ranknet": [{}, {"sigma": 0.3}],
    "hinge": [{}, {"margin": 0.25}],
    "rank_mse": [{}, {"temperature": 0.2}],
    "adr_mse": [{}, {"temperature": 0.2}, {"discount": "reciprocal"}],
    "approx_ndcg": [{}, {"temperature": 0.8}, {"gain": "linear", "temperature": 0.5}],
    "lambda_loss": [{}, {"mu": 0.0}, {"sigma": 2.0}],
    "info_nce": [{}, {"temperature": 0.05}],
    "cl_drd": [{}, {"top": 1}, {"top": 2}, {"top": 30}],
}  # fmt: skip
CASES = [(name, options) for name, several in PARAMETERS.items() for options in several]


def test_every_loss_on_scores_has_its_loop():
    assert set(PARAMETERS) == set(ON_SCORES)


@pytest.mark.parametrize(
    ("name", "options"), CASES, ids=[name + "".join(f"-{k}={v}" for k, v in o.items()) for name, o in CASES]
)
@pytest.mark.parametrize("seed", [0, 1])
def test_equals_the_loops(name, options, seed):
    data = world(seed=seed)
    found = call(name, data, **options)
    for row in range(4):
        listed = data["mask"][row].nonzero().flatten().tolist()
        s, t, y, r = ([data[key][row, i].item() for i in listed] for key in ("student", "teacher", "labels", "ranks"))
        assert found[row].item() == pytest.approx(globals()[name](s, t, y, r, **options), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("name", ["rank_mse", "adr_mse", "ranknet", "cl_drd"])
def test_ties_of_the_teacher(name):
    """Candidates that the teacher ties are treated alike, whichever is listed first."""
    columns = {"student": [1.0, 2.0, 0.5, -1.0], "teacher": [1.0, 1.0, 0.0, 0.0], "labels": [1.0, 0, 0, 0]}
    data = {key: torch.tensor([value]).double() for key, value in columns.items()}
    data["mask"] = torch.ones(1, 4, dtype=torch.bool)
    swapped = {key: value[:, [1, 0, 3, 2]] for key, value in data.items()}
    options = {"top": 1} if name == "cl_drd" else {}
    torch.testing.assert_close(call(name, data, **options), call(name, swapped, **options))
    s = columns["student"]
    if name == "rank_mse":
        expected = mean((soft_rank(s, i, 1.0) - rank) ** 2 for i, rank in enumerate([1.5, 1.5, 3.5, 3.5]))
    elif name == "adr_mse":
        expected = mean(
            (soft_rank(s, i, 1.0) - rank) ** 2 / math.log2(rank + 1) for i, rank in enumerate([1.5, 1.5, 3.5, 3.5])
        )
    elif name == "ranknet":
        expected = mean(ln(1 + e(-(s[i] - s[j]))) for i in (0, 1) for j in (2, 3))
    else:  # the two best share rank 1, so stand in one group; the two others share rank 3, the border of the second
        place = order(s)
        expected = mean(abs(1 / place[i] - 1 / place[j]) * ln(1 + e(-(s[i] - s[j]))) for i in (0, 1) for j in (2, 3))
    assert call(name, data, **options).item() == pytest.approx(expected)


def test_ranks_keep_the_listed_order_in_long_ties():
    scores = torch.ones(1, 300)
    scores[0, 250] = 2.0
    expected = torch.cat([torch.arange(2, 252), torch.tensor([1]), torch.arange(252, 301)])
    assert ranks_by(scores, torch.ones(1, 300, dtype=torch.bool)).squeeze(0).tolist() == expected.tolist()


def test_student_ranks_keep_the_listed_order_in_ties():
    data = world()
    data["student"][:] = 1.0
    listed = torch.arange(1, 8).expand(4, 7)
    by_student = call("ckl", data, rank_source="student")
    torch.testing.assert_close(by_student, call("ckl", {**data, "ranks": listed}))
