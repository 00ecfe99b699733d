r"""How closely a student's distribution matches the teacher's in each list: positives and negatives, train and test.

Over-calibration means that a student matches the teacher more closely than the teacher deserves: more on training lists
than on others, and where the teacher is wrong.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from limbeck.analysis.means import Mean, mean
from limbeck.analysis.segments import Segments

QUANTITIES = (
    "kl", "kl_positives", "kl_negatives", "teacher_mass", "student_mass", "teacher_entropy", "student_entropy",
    "size", "positives",
)  # fmt: skip
"""Fields of ``Calibration`` that ``summarise`` averages."""

ALL, RIGHT, WRONG = "all", "teacher right", "teacher wrong"
"""Groups of lists: all, and those where the teacher's first document is, or is not, a positive."""


@dataclass(frozen=True)
class Calibration:
    """One value per list; NaN for a list without documents."""

    kl: np.ndarray
    """(Q,) KL(p ‖ q) in nats."""
    kl_positives: np.ndarray
    """(Q,) its part over the positives; below 0 where the student gives them more than the teacher does."""
    kl_negatives: np.ndarray
    """(Q,) its part over the negatives; the two parts add up to ``kl``."""
    teacher_mass: np.ndarray
    """(Q,) Σ p over the positives."""
    student_mass: np.ndarray
    """(Q,) Σ q over the positives."""
    teacher_entropy: np.ndarray
    """(Q,) entropy of p in nats."""
    student_entropy: np.ndarray
    """(Q,) entropy of q in nats."""
    size: np.ndarray
    """(Q,) number of documents in the list."""
    positives: np.ndarray
    """(Q,) number of positives in the list."""
    teacher_right: np.ndarray
    """(Q,) bool: the teacher scores some positive above every negative."""


@dataclass(frozen=True)
class Summary:
    """Means over the lists of one system on one split, without lists that lack positives or negatives."""

    system: str
    split: str
    subset: str
    """``all``, ``teacher right`` or ``teacher wrong``."""
    lists: int
    left_out: int
    """Number of lists of the system and split without a positive or without a negative."""
    means: Mapping[str, Mean]
    """Mean of each of ``QUANTITIES``, by name."""


def measure(
    teacher: np.ndarray,
    student: np.ndarray,
    positive: np.ndarray,
    offsets: np.ndarray,
    *,
    student_temperature: float = 1.0,
    teacher_temperature: float = 1.0,
) -> Calibration:
    r"""Measure lists of different lengths, one after another in flat arrays.

    ```math
    p = \mathrm{softmax}(t/τ_t), \quad q = \mathrm{softmax}(s/τ_s), \quad
    \mathrm{KL} = \sum_{i \in D^+} p_i \ln \frac{p_i}{q_i} + \sum_{i \in D^-} p_i \ln \frac{p_i}{q_i}
    ```

    Parameters
    ----------
    teacher, student
        (N,) raw scores of the same documents; computed with in float64.
    positive
        (N,) bool.
    offsets
        (Q + 1,) where each list begins, and N.
    student_temperature, teacher_temperature
        τ_s and τ_t, > 0: those of the loss, since they say what the student was to match.

    Raises
    ------
    ValueError
        A score is not finite (row and list are named: leave documents without a teacher score out), or a temperature
        is not above 0.

    Notes
    -----
    For ``teacher_right`` a tie counts against the teacher: it is wrong if a negative has the score of the best
    positive. A list without positives is neither right nor wrong; ``summarise`` leaves it out.

    Examples
    --------
    >>> found = measure(np.log([3.0, 1.0]), np.zeros(2), np.array([True, False]), np.array([0, 2]))
    >>> found.kl.round(4), found.kl_positives.round(4), found.kl_negatives.round(4)
    (array([0.1308]), array([0.3041]), array([-0.1733]))
    """
    assert len(teacher) == len(student) == len(positive) == offsets[-1], "one row a document in every array"
    for name, value in (("student_temperature", student_temperature), ("teacher_temperature", teacher_temperature)):
        if not value > 0:
            raise ValueError(f"{name} must be > 0, got {value}")
    segments = Segments(np.diff(offsets))
    positive = np.asarray(positive, dtype=bool)
    log_p = _log_softmax(segments, teacher, teacher_temperature, "teacher")
    log_q = _log_softmax(segments, student, student_temperature, "student")
    p, q = np.exp(log_p), np.exp(log_q)
    terms = p * (log_p - log_q)
    over_positives, over_negatives = segments.sum(terms * positive), segments.sum(terms * ~positive)
    filled = np.where(segments.lengths > 0, 1.0, np.nan)
    best = (segments.max(np.where(chosen, log_p, -np.inf)) for chosen in (positive, ~positive))
    return Calibration(
        kl=(over_positives + over_negatives) * filled,
        kl_positives=over_positives * filled,
        kl_negatives=over_negatives * filled,
        teacher_mass=segments.sum(p * positive) * filled,
        student_mass=segments.sum(q * positive) * filled,
        teacher_entropy=-segments.sum(p * log_p) * filled,
        student_entropy=-segments.sum(q * log_q) * filled,
        size=segments.lengths,
        positives=segments.sum(positive).astype(np.int64),
        teacher_right=np.greater(*best),
    )


def _log_softmax(segments: Segments, scores: np.ndarray, temperature: float, whose: str) -> np.ndarray:
    scores = np.asarray(scores, dtype=np.float64)
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        row = wrong[0]
        raise ValueError(f"the {whose}'s score in row {row} (list {segments.ids[row]}) is {scores[row]}")
    below = (scores - segments.max(scores)[segments.ids]) / temperature  # the maximum is 0: no overflow
    with np.errstate(divide="ignore"):  # an empty list has the sum 0, but no row that uses its logarithm
        return below - np.log(segments.sum(np.exp(below)))[segments.ids]


def over_seeds(seeds: Sequence[Calibration]) -> Calibration:
    """Average each list over students that differ by seed.

    Parameters
    ----------
    seeds
        Measurements of the same lists in the same order, with the same teacher.

    Raises
    ------
    ValueError
        The lists differ.
    """
    first = seeds[0]
    for other in seeds[1:]:
        for name in ("size", "positives", "teacher_right", "teacher_mass"):
            if not np.array_equal(getattr(first, name), getattr(other, name), equal_nan=name == "teacher_mass"):
                raise ValueError("seeds can be averaged only over the same lists, scored by the same teacher")
    averages = {item.name: np.mean([getattr(each, item.name) for each in seeds], axis=0) for item in fields(first)}
    return Calibration(**averages | {name: getattr(first, name) for name in ("size", "positives", "teacher_right")})


def summarise(groups: Mapping[tuple[str, str], Sequence[Calibration]]) -> list[Summary]:
    """Return means and intervals of all lists, of those where the teacher is right, and of those where it is wrong.

    Only lists with both positives and negatives count: for others the parts of the divergence mean nothing.

    Parameters
    ----------
    groups
        (System, split) → one measurement per seed; see ``over_seeds``.

    Returns
    -------
    list[Summary]
        Group by group in the given order, for each ``all``, ``teacher right``, ``teacher wrong``; a subset without
        lists is left out.
    """
    found = []
    for (system, split), seeds in groups.items():
        values = over_seeds(seeds)
        usable = (values.positives > 0) & (values.positives < values.size)
        subsets = {ALL: usable, RIGHT: usable & values.teacher_right, WRONG: usable & ~values.teacher_right}
        for subset, chosen in subsets.items():
            if chosen.any():
                means = {name: mean(getattr(values, name)[chosen]) for name in QUANTITIES}
                found.append(Summary(system, split, subset, int(chosen.sum()), int((~usable).sum()), means))
    return found
