"""Every registered loss as plain Python: one list at a time, loops over its documents and pairs, nothing of torch.

The scores of the student ``s`` may be complex: if one of them has an imaginary part of 1e-30, the imaginary part of the
result, divided by 1e-30, is the derivative with respect to that score, exact to the last digit. So each loop gives its
gradient too. What carries no gradient (ranks, weights of pairs) looks at real parts alone.

``t`` are the teacher's scores, ``y`` the grades, ``r`` the ranks of the first stage.
"""

import cmath
import itertools
import math

STEP = 1e-30


def e(x):
    return cmath.exp(x)


def ln(x):
    return cmath.log(x)


def real(x):
    return complex(x).real


def gradient(loss, s, *given, **options):
    """Return the derivatives of a loop by each of the scores."""
    moved = ([x + (STEP * 1j if i == k else 0) for i, x in enumerate(s)] for k in range(len(s)))
    return [complex(loss(scores, *given, **options)).imag / STEP for scores in moved]


def softmax(scores, temperature=1.0):
    top = max(real(score) for score in scores) / temperature
    powers = [e(score / temperature - top) for score in scores]
    return [power / sum(powers) for power in powers]


def sigmoid(x):
    return 1 / (1 + e(-x))


def logistic(x):
    return ln(1 + e(-x))


def pq(s, t, student_temperature=1.0, teacher_temperature=1.0):
    return softmax(t, teacher_temperature), softmax(s, student_temperature)


def above(scores, i):
    return sum(real(score) > real(scores[i]) for score in scores)


def shared_ranks(scores):
    """1-based ranks; those that tie share the mean of their places."""
    tied = [sum(real(score) == real(other) for score in scores) for other in scores]
    return [above(scores, i) + (1 + tied[i]) / 2 for i in range(len(scores))]


def orders(scores):
    """All rankings of the candidates in which none stands behind a lower score, as lists of 1-based ranks."""
    by_score = {}
    for i, score in enumerate(scores):
        by_score.setdefault(real(score), []).append(i)
    tied = [itertools.permutations(by_score[score]) for score in sorted(by_score, reverse=True)]
    for groups in itertools.product(*tied):
        ranking = [i for group in groups for i in group]
        yield [ranking.index(i) + 1 for i in range(len(scores))]


def over_orders(weight, s):
    """Each pair's mean weight over all orders of tied scores."""
    every = list(orders(s))
    size = range(len(s))
    return [[sum(weight(r[i], r[j]) for r in every) / len(every) if i != j else 0 for j in size] for i in size]


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else 0.0


def pairs(n):
    return itertools.product(range(n), repeat=2)


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


def bkl(s, t, y, r, beta=1.92, **o):
    _, q = pq(s, t, **o)
    terms = [q[i] * ln(q[i]) if y[i] > 0 else q[i] / ln(2) for i in range(len(s))]
    return kl(s, t, y, r, **o) + beta * sum(terms)


def kl_ll(s, t, y, r, beta=1.92, **o):
    _, q = pq(s, t, **o)
    return kl(s, t, y, r, **o) - beta * sum(ln(q[i]) for i in range(len(s)) if y[i] > 0)


def ckl(
    s, t, y, r, gamma=5.0, alpha=1.0, rank_source="stored", rank_anchor="best", positive_exponent="gamma",
    negative_log="probability", detach_weights=False, reduction="sum", **o,
):  # fmt: skip
    r = shared_ranks(s) if rank_source == "student" else r
    p, q = pq(s, t, **o)
    of_positives = [1 / r[i] for i in range(len(s)) if y[i] > 0] or [0.0]
    anchor = {"best": max, "first": lambda x: x[0], "mean": mean}[rank_anchor](of_positives)
    total = 0.0
    for i in range(len(s)):
        seen = real(q[i]) if detach_weights else q[i]
        k = gamma - alpha * (1 / r[i] - anchor)
        weight = (1 - seen) ** (k if positive_exponent == "rank" else gamma) if y[i] > 0 else seen**k
        of_complement = y[i] <= 0 and negative_log == "complement"
        total += weight * p[i] * (ln((1 - p[i]) / (1 - q[i])) if of_complement else ln(p[i] / q[i]))
    return total / len(s) if reduction == "mean" else total


def projected_kl(s, t, y, r, mass=0.5, against="all", evidence="none", **o):
    p, q = pq(s, t, **o)
    share = sum if against == "all" else max
    positives, negatives = [p[i] for i in range(len(s)) if y[i] > 0], [p[i] for i in range(len(s)) if y[i] <= 0]
    if evidence == "order":
        apart = [t[j] - t[i] for j, i in pairs(len(s)) if y[j] > 0 >= y[i]]
        mass *= sum(1.0 if real(x) < 0 else 0.5 if real(x) == 0 else 0.0 for x in apart) / max(1, len(apart))
    if evidence == "student" and positives and negatives:
        own = [share(real(q[i]) for i in range(len(s)) if (y[i] > 0) == kind) for kind in (True, False)]
        mass = min(mass, own[0] / (own[0] + own[1]))
    if positives and negatives:
        strong, weak = share(map(real, positives)), share(map(real, negatives))
        if strong < mass * (strong + weak):
            strength = mass / strong, (1 - mass) / weak
            scaled = [p[i] * (strength[0] if y[i] > 0 else strength[1]) for i in range(len(s))]
            p = [x / sum(scaled) for x in scaled]
    return sum(p[i] * ln(p[i] / q[i]) for i in range(len(s)))


def focal_kl(s, t, y, r, gamma=2.0, **o):
    p, q = pq(s, t, **o)
    return sum(((1 - q[i]) if y[i] > 0 else q[i]) ** gamma * p[i] * (ln(p[i]) - ln(q[i])) for i in range(len(s)))


def margin_mse(s, t, y, r):
    both = [(j, i) for j, i in pairs(len(s)) if y[j] > 0 >= y[i]]
    return mean(((s[j] - s[i]) - (t[j] - t[i])) ** 2 for j, i in both)


def hinge(s, t, y, r, margin=1.0):
    missing = [margin - (s[j] - s[i]) for j, i in pairs(len(s)) if y[j] > 0 >= y[i]]
    return mean(x if real(x) > 0 else 0.0 for x in missing)


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
    return mean(logistic(sigma * (s[i] - s[j])) for i, j in pairs(len(s)) if t[i] > t[j])


def soft_rank(s, i, temperature):
    return 1 + sum(sigmoid((s[j] - s[i]) / temperature) for j in range(len(s)) if j != i)


def rank_mse(s, t, y, r, temperature=1.0):
    ranks = shared_ranks(t)
    return mean((soft_rank(s, i, temperature) - ranks[i]) ** 2 for i in range(len(s)))


def adr_mse(s, t, y, r, discount="log2", temperature=1.0):
    ranks = shared_ranks(t)
    weight = {"log2": lambda k: 1 / math.log2(k + 1), "reciprocal": lambda k: 1 / k}[discount]
    return mean(weight(ranks[i]) * (soft_rank(s, i, temperature) - ranks[i]) ** 2 for i in range(len(s)))


def ideal(gains):
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(sorted(gains, reverse=True)))


def approx_ndcg(s, t, y, r, temperature=0.1, gain="exponential"):
    gains = [2 ** max(grade, 0) - 1 if gain == "exponential" else max(grade, 0) for grade in y]
    if not any(gains):
        return 0.0
    reached = sum(gains[i] * ln(2) / ln(1 + soft_rank(s, i, temperature)) for i in range(len(s)))
    return 1 - reached / ideal(gains)


def lambda_loss(s, t, y, r, mu=10.0, sigma=1.0):
    def weight(i, j):
        rho = abs(1 / math.log2(1 + i) - 1 / math.log2(1 + j))
        apart = abs(i - j)
        return rho + mu * abs(1 / math.log2(1 + apart) - 1 / math.log2(2 + apart))

    y = [max(grade, 0) for grade in y]
    gains = [2**grade - 1 for grade in y]
    weights = over_orders(weight, s)
    total = 0.0
    for i, j in pairs(len(s)):
        if y[i] > y[j]:
            total += weights[i][j] * (gains[i] - gains[j]) / ideal(gains) * logistic(sigma * (s[i] - s[j])) / ln(2)
    return total


def info_nce(s, t, y, r, temperature=1.0, others=()):
    q = softmax([*s, *others], temperature)
    return mean(-ln(q[i]) for i in range(len(s)) if y[i] > 0)


def info_nce_by_others(others, s, t, y, r, **o):
    return info_nce(s, t, y, r, others=others, **o)


def groups(t, top):
    """The group of each candidate in CL-DRD: the best, one by one, then the two halves of the rest."""
    rest = max(len(t) - top, 0)
    ranks = [1 + above(t, i) for i in range(len(t))]
    return [rank if rank <= top else top + 1 if rank - top <= rest // 2 else top + 2 for rank in ranks]


def cl_drd(s, t, y, r, top=5):
    group = groups(t, top)
    weights = over_orders(lambda i, j: abs(1 / i - 1 / j), s)
    return mean(weights[i][j] * logistic(s[i] - s[j]) for i, j in pairs(len(s)) if group[i] < group[j])


def activation(w):
    return w if real(w) > 0 else -w if real(w) < 0 else 0.0


def flops(rows):
    return sum(mean(activation(row[v]) for row in rows) ** 2 for v in range(len(rows[0])))


def l1(rows):
    return mean(sum(activation(w) for w in row) for row in rows)


def embedding_mse(s, t):
    return sum((a - b) ** 2 for a, b in zip(s, t, strict=True))


def embedding_cosine(s, t):
    product, ours, theirs = (sum(a * b for a, b in zip(*each, strict=True)) for each in ((s, t), (s, s), (t, t)))
    return 1 - product / cmath.sqrt(ours * theirs)
