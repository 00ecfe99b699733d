r"""The weights of CKL's terms over the student's ranking: Figure 1 of the paper, from run files.

```math
w^+_j = (1-q_j)^γ, \qquad w^-_i = q_i^{γ-β_i}, \qquad β_i = α\left(\frac{1}{π(d_i)} - \frac{1}{π(d^+)}\right)
```

with q the student's softmax over a list and π the rank in the first stage. KL has the weight 1 everywhere.

References
----------
Yang, Qiao, He, Yang, Weighted KL-Divergence for Document Ranking Model Refinement, SIGIR 2024.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from limbeck.rankings import Qrels, Run

QUERIES = 1000
"""Most queries used: the first ones by id."""

EDGES = np.array([1, 2, 3, 4, 5, 6, 8, 11, 16, 26, 51, 101, 201])
"""First ranks of the bins of the student's ranks; the last bin ends with the lists."""


_READ = ("gamma", "alpha", "rank_anchor", "rank_source", "student_temperature")


@dataclass(frozen=True)
class Setting:
    """The weights that are drawn."""

    gamma: float
    alpha: float
    anchor: Any
    """Selects the positive that gives π(d⁺): ``rank_anchor`` of ``ckl``."""
    by_student: bool
    """Whether π is the rank by the student, not in the first stage."""
    temperature: float
    """Temperature of the student's softmax."""
    own: bool
    """Whether the run was trained with these parameters; otherwise they are the defaults, for comparison."""


@dataclass(frozen=True)
class Bin:
    """Documents of one side in one bin of the student's ranks."""

    rank: float
    """Mean rank of the documents."""
    low: int
    high: int
    documents: int
    mean: float
    median: float
    q: float
    """Mean of the student's probabilities."""


@dataclass(frozen=True)
class Weighed:
    """The terms of all lists of a run."""

    lists: int
    documents: float
    """Mean number of documents per list."""
    positives: list[Bin]
    negatives: list[Bin]


def setting(config: Mapping[str, Any]) -> Setting:
    """Return the parameters of a run's CKL term; without one, CKL's defaults, γ = 5 and α = 1."""
    from limbeck.losses.ckl import ckl
    from limbeck.losses.term import Term

    node = next((node for node in (config.get("loss") or {}).values() if node.get("_target_") == "loss/ckl"), None)
    options = Term(ckl, **{key: value for key, value in (node or {}).items() if key in _READ}).options
    return Setting(
        options["gamma"],
        options["alpha"],
        options["rank_anchor"],
        options["rank_source"] == "student",
        options["student_temperature"],
        node is not None,
    )


def weigh(student: Run, teacher: Run, first_stage: Run, qrels: Qrels, relevant: int, chosen: Setting) -> Weighed:
    """Return the weights of the terms of all lists, by the student's rank.

    A list has the documents in both the student's and the teacher's ranking of a query. Lists without a positive, or
    without a negative, are left out. A document that the first stage lacks is ranked after its last one.

    Parameters
    ----------
    student, teacher, first_stage
        Rankings.
    qrels
        Judgments.
    relevant
        Lowest grade of a positive.
    chosen
        The weights to compute.
    """
    lists = []
    for query in sorted(student)[:QUERIES]:
        known = set(teacher[query].ids) if query in teacher else set()
        ranking = student[query]
        places = [place for place, document in enumerate(ranking.ids) if document in known]
        ids = [ranking.ids[place] for place in places]
        grades = qrels.get(query, {})
        labels = np.array([grades.get(document, 0) >= relevant for document in ids])
        if not labels.any() or labels.all():
            continue
        before = first_stage[query].ids if query in first_stage else ()
        rank = {document: number for number, document in enumerate(before, 1)}
        ranks = np.array([rank.get(document, len(before) + 1) for document in ids])
        lists.append((ranking.scores[places], labels, ranks))
    if not lists:
        return Weighed(0, 0.0, [], [])
    weights, q, positive, valid = _weights(lists, chosen)
    place = np.broadcast_to(np.arange(1, q.shape[1] + 1), q.shape)
    sides = [_bins(place[side], weights[side], q[side]) for side in (positive & valid, ~positive & valid)]
    return Weighed(len(lists), float(valid.sum() / len(lists)), *sides)


def _weights(
    lists: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], chosen: Setting
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return (Q, L) arrays: weights, q, whether an entry is a positive, and whether it is a document at all."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from limbeck.losses.ckl import above_positive
    from limbeck.losses.lists import log_softmax
    from limbeck.losses.ranks import shared_ranks
    from limbeck.losses.weighted_kl import complement_power, power

    def padded(column: int) -> torch.Tensor:
        return pad_sequence([torch.from_numpy(each[column].astype(np.float64)) for each in lists], batch_first=True)

    scores, is_positive, ranks = padded(0), padded(1) > 0, padded(2)
    valid = ranks > 0
    q = log_softmax(scores, valid, chosen.temperature).exp()
    if chosen.by_student:
        ranks = shared_ranks(scores, valid)
    beta = chosen.alpha * above_positive(ranks, is_positive, valid, chosen.anchor)
    weights = torch.where(is_positive, complement_power(chosen.gamma)(q), power(chosen.gamma - beta)(q))
    return weights.numpy(), q.numpy(), is_positive.numpy(), valid.numpy()


def _bins(places: np.ndarray, weights: np.ndarray, q: np.ndarray) -> list[Bin]:
    which = np.digitize(places, EDGES)
    found = []
    for number in range(1, len(EDGES) + 1):
        inside = which == number
        if inside.any():
            ranks, own = places[inside], weights[inside]
            found.append(
                Bin(
                    float(ranks.mean()), int(EDGES[number - 1]), int(ranks.max()), int(inside.sum()),
                    float(own.mean()), float(np.median(own)), float(q[inside].mean()),
                )
            )  # fmt: skip
    return found
