"""Ensembles of teachers: the weighted mean of their score stores."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa

from limbeck.config import ConfigError
from limbeck.scores.keys import ID
from limbeck.scores.kinds import Kind, described
from limbeck.scores.parts import Block
from limbeck.scores.store import ScoreStore

log = logging.getLogger(__name__)

Missing = Literal["error", "drop"]


def ensemble(
    stores: Sequence[ScoreStore],
    weights: Sequence[float] | None = None,
    *,
    standardise: bool = True,
    missing: Missing = "error",
) -> Iterator[Callable[[], Block]]:
    r"""Yield the weighted mean of several stores' scores, as blocks for ``write_store``.

    ```math
    t(q, d) = \sum_k w_k \frac{t_k(q, d) - μ_k}{σ_k} \Big/ \sum_k w_k
    ```

    with μ and σ the mean and standard deviation of all scores of teacher k, so that a teacher with large scores does
    not dominate.

    Parameters
    ----------
    stores
        Two or more stores.
    weights
        w > 0, one for each store; None weights all equally.
    standardise
        False sets μ = 0 and σ = 1, for teachers whose scores have the same scale.
    missing
        What to do with pairs that not all stores have: ``error``, or ``drop`` them.

    Raises
    ------
    ConfigError
        There are fewer than two stores; the weights are not valid; all scores of a store are equal; the kinds of
        scores cannot be averaged; or pairs are missing (the message has their number and an example).
    """
    weights = [1.0] * len(stores) if weights is None else list(weights)
    if len(stores) < 2:
        raise ConfigError("an ensemble needs two score stores or more")
    if len(weights) != len(stores) or not all(0 < weight < np.inf for weight in weights):
        raise ConfigError(f"weights must be {len(stores)} numbers > 0, one for each store, got {weights}")
    check_kinds(stores, standardise=standardise)
    for store in stores:
        store.verify()
    spreads = [store.spread() if standardise else (0.0, 1.0) for store in stores]
    for store, (_, deviation) in zip(stores, spreads, strict=True):
        if not deviation:
            raise ConfigError(f"{store.path}: all scores are equal; leave this store out of the ensemble")
    if missing == "error":
        _complete(stores)
    factors = [weight / sum(weights) / deviation for weight, (_, deviation) in zip(weights, spreads, strict=True)]
    shift = sum(factor * mean for factor, (mean, _) in zip(factors, spreads, strict=True))

    for queries, offsets, documents, own in stores[0].batches():

        def work(
            queries: list[str] = queries, offsets: np.ndarray = offsets, documents: list[str] = documents, own=own
        ) -> Block:
            column = pa.array(documents, ID)
            total = factors[0] * own.astype(np.float64) - shift
            for store, factor in zip(stores[1:], factors[1:], strict=True):
                total += factor * store.lookup_many(queries, offsets, column).astype(np.float64)
            kept = ~np.isnan(total)  # infinite scores raise an error when they are stored
            names = np.repeat(np.array(queries, dtype=object), np.diff(offsets))
            with np.errstate(over="ignore"):
                scores = total[kept].astype(np.float32)
            return Block(names[kept].tolist(), column.filter(pa.array(kept)), scores)

        yield work


def check_kinds(stores: Sequence[ScoreStore], *, standardise: bool) -> None:
    """Check that the stores' kinds of scores can be averaged; warn if they differ.

    Raises
    ------
    ConfigError
        Ranks, or softmaxes over lists, would be averaged with other kinds, although they are not comparable between
        lists; or scores of different kinds or scales would be averaged without standardisation.
    """
    kinds = {store: (store.meta["kind"], store.meta["scale"]) for store in stores}
    if len(set(kinds.values())) == 1:
        return
    named = "; ".join(f"{store.path} has {described(store.meta)}" for store in stores)
    for store, (kind, _) in kinds.items():
        if kind in ("rank", "softmax"):
            raise ConfigError(
                f"{store.path}: its scores are of the kind {kind}, relative to their list, and cannot be averaged with "
                f"other kinds ({named}); leave this store out, or average stores of one kind"
            )
    if not standardise:
        raise ConfigError(
            f"the stores hold different kinds of scores, {named}: their plain mean has no meaning; "
            "format.standardise=true standardises them first"
        )
    log.warning("the stores hold different kinds of scores, %s: the kind of their standardised mean is unclear", named)


def kind_of_mean(stores: Sequence[ScoreStore], *, standardise: bool) -> tuple[Kind, float | None]:
    """Return kind and scale of the mean: those of the stores, if they are equal and the mean keeps them."""
    kinds = {(store.meta["kind"], store.meta["scale"]) for store in stores}
    kind, scale = kinds.pop()
    if kinds:
        return "similarity", None
    if not standardise:
        return kind, scale
    return ("similarity" if kind in ("cosine", "log_probability", "probability", "softmax") else kind), None


def _complete(stores: Sequence[ScoreStore]) -> None:
    """Raise unless all stores hold the same pairs."""
    first = stores[0]
    absent = dict.fromkeys(range(1, len(stores)), 0)
    example = None
    for queries, offsets, documents, _ in first.batches():
        for number, store in enumerate(stores[1:], 1):
            lacking = np.flatnonzero(np.isnan(store.lookup_many(queries, offsets, pa.array(documents, ID))))
            absent[number] += len(lacking)
            if len(lacking) and example is None:
                query = queries[int(np.searchsorted(offsets, lacking[0], side="right")) - 1]
                example = f"{store.path} has no score of query {query!r}, document {documents[lacking[0]]!r}"
    more = {number: len(store) - (len(first) - absent[number]) for number, store in enumerate(stores) if number}
    if example or any(more.values()):
        counts = [
            f"{store.path} lacks {absent[number]:,} pairs of {first.path} and has {more[number]:,} others"
            for number, store in enumerate(stores)
            if number and (absent[number] or more[number])
        ]
        shown = f" (for example, {example})" if example else ""
        raise ConfigError(
            f"the stores do not hold the same pairs: {'; '.join(counts)}{shown}. "
            "missing=drop keeps the pairs that all have"
        )
