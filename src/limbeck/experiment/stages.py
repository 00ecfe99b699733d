"""The stages before training, computed once for all runs: candidates and training pool."""

import shutil
from pathlib import Path

from limbeck.artefacts import Artefacts
from limbeck.config import Config
from limbeck.data.candidates import Candidates, Search, find, find_share, inputs
from limbeck.data.collection import Collection
from limbeck.data.judged import Judged
from limbeck.data.pool import Pool, read_pool, write_pool
from limbeck.data.pooling import Pooling
from limbeck.experiment.teaching import Teaching
from limbeck.types import Run


class Stages:
    """The stages before training; each is an artefact.

    Parameters
    ----------
    collection
        The collection.
    artefacts
        The cache of the stages.
    candidates
        The first stage.
    pooling
        Chooses the training pool from the candidates.
    """

    def __init__(self, collection: Collection, artefacts: Artefacts, candidates: Candidates, pooling: Pooling) -> None:
        self.collection = collection
        self._artefacts = artefacts
        self._candidates = candidates
        self._pooling = pooling

    def first_stage(self, split: str) -> Run:
        """Return the candidates of a split."""
        return find(self._candidates, self._task(split))

    def keep_share(self, split: str, share: tuple[int, int]) -> None:
        """Search for a share (i, n) of a split's queries; ``first_stage`` then finds it in the cache."""
        find_share(self._candidates, self._task(split), share)

    def candidate_inputs(self, split: str) -> Config:
        """Return what the candidates of a split depend on."""
        return inputs(self._candidates, self._task(split))

    def _task(self, split: str) -> Search:
        return Search(self.collection, split, self._artefacts)

    def pool(self, teaching: Teaching | None = None, *, split: str = "train") -> Pool:
        """Return the training pool, with the teacher's scores if there is a teacher, and denoised if configured.

        The pool of another split is built by the same rules, as if its queries were training queries.
        """
        chosen_from = self.collection.split(split)
        inputs = {
            "candidates": self.candidate_inputs(split),
            "judgments": chosen_from.judged(),
            "pool": self._pooling.identity(),
            "first_stage": True,
        }

        def fill(target: Path) -> None:
            parts = target / "parts"
            parts.mkdir(exist_ok=True)
            found = self.first_stage(split)
            write_pool(
                target / "pool.arrow",
                self._pooling.choose(chosen_from.qrels, found, self.collection.document_ids, parts),
            )
            shutil.rmtree(parts)

        label = "training pool" if split == "train" else f"pool of {split} queries"
        pool = read_pool(self._artefacts.folder("pool", inputs, fill, label=label, parts=True) / "pool.arrow")
        return pool if teaching is None else self._pooling.denoise(teaching.scored(pool))

    def judged(self, pool: Pool) -> Judged:
        """Return the judgments of the training queries of a pool."""
        return Judged(self.collection.split("train").qrels, pool.query_ids, self._pooling.relevant)
