"""Evaluate systems on sets: open each set, search or re-rank it with each system, and compute the metrics."""

import logging
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from limbeck.artefacts import Artefacts
from limbeck.backbones.families import most_tokens
from limbeck.config import Config, ConfigError, Node, build
from limbeck.data.candidates import Search
from limbeck.data.candidates import find as find_candidates
from limbeck.data.collection import Collection
from limbeck.data.opening import described
from limbeck.evaluation.pipeline import Pipeline, Row
from limbeck.evaluation.ranking import without_own
from limbeck.evaluation.runs import read_run
from limbeck.evaluation.sets import EvalSet
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble, spaces
from limbeck.experiment.engine import Engine, with_lengths
from limbeck.experiment.one_pass import OnePass
from limbeck.experiment.sharing import SHARES, Sharing
from limbeck.experiment.systems import Systems, loaded
from limbeck.reporting.terminal import show_rows
from limbeck.search.shards import Store
from limbeck.students.base import Student
from limbeck.text.cache import TokenCache
from limbeck.text.collate import Collator
from limbeck.types import Run

log = logging.getLogger(__name__)

_SPLIT = "test"
"""Name of the evaluated split in a set's collection, whatever its qrels file is called."""


@dataclass(frozen=True)
class Model:
    """A system: the student in a folder."""

    key: str
    """Its name in files."""
    label: str
    """Its name in tables."""
    folder: Path


@dataclass(frozen=True)
class RunFile:
    """A system: a TREC run file."""

    key: str
    label: str
    path: Path


System = Model | RunFile


class Suite:
    """Sets on which systems are evaluated.

    Parameters
    ----------
    evaluation
        Stages, depths, precision, devices, and the metrics of sets that have none of their own.
    sets
        Name → configuration node of the set.
    candidates, teacher
        Configuration nodes of first stage and teacher (or None); ``@set`` in a path stands for the set's name.
    artefacts
        The cache of indexes and rankings.
    accelerator
        Device of models.
    folder
        Output folder: ``runs/SET.KEY.trec``, ``per_query/SET.KEY.parquet``.
    index
        An index whose documents all students search, each trained into its space; None: each student encodes the
        documents.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        sets: Mapping[str, Node],
        candidates: Node,
        teacher: Node | None,
        artefacts: Artefacts,
        accelerator: str,
        folder: Path,
        index: Store | None = None,
    ) -> None:
        self._index = index
        self._loaded = lru_cache(maxsize=1)(loaded)  # a single student is loaded once for all sets
        self._evaluation = evaluation
        self._sets: dict[str, EvalSet] = {name: build(node, key=f"eval.sets.{name}") for name, node in sets.items()}
        # The evaluation sets the depth of re-ranking, whatever the depth of the candidates for training lists.
        depth = candidates.get("depth")
        self._candidates = {**candidates, "depth": depth if depth is None else max(depth, evaluation.depth)}
        self._teacher = teacher
        self._artefacts = artefacts
        self._accelerator = accelerator
        self._device = assemble.device(accelerator, evaluation.devices, key="eval.devices")
        self._folder = folder
        self._pass = OnePass(self._sets, _SPLIT, artefacts, folder / SHARES)

    def run(self, systems: Sequence[System]) -> dict[str, Config]:
        """Evaluate systems on every set; a set that cannot be opened is reported, and the others are still evaluated.

        Returns
        -------
        dict
            Set → ``collection``, ``fingerprint``, ``split``, ``data`` (the node that opens it), ``documents``,
            ``queries``, ``metrics`` and ``rows``; or ``missing`` with the reason.
        """
        self._announce()
        found: dict[str, Config] = {}
        for name, each in self._sets.items():
            log.info("\n%s", name)
            try:
                found[name] = self._one(name, each, systems)
            except ConfigError as error:
                reason = str(error).replace("data.collection", f"eval.sets.{name}.collection")
                reason = reason.replace("data.test", f"eval.sets.{name}.split")
                log.error("%s is missing: %s", name, reason.partition(". ")[0])  # its advice comes once, at the end
                found[name] = {"missing": reason}
        return found

    def before(
        self, system: str, place: str, collection: Collection, ranker: Student, collator: Collator
    ) -> Callable[[Engine, Sequence[str]], Run]:
        """Return the function by which a student searches its own split, and in the same pass sets with its documents.

        Parameters
        ----------
        system
            Key of the system in the evaluation of the sets.
        place
            The collection's name in the configuration.
        collection
            The collection to search.
        ranker, collator
            The student and its collator.
        """
        fit = partial(_fitted, ranker, collator)
        return self._pass.before(system, place, collection, collator.style.document_length, fit)

    def _announce(self) -> None:
        for name, each in self._sets.items():
            known = {"documents": each.documents, "queries": each.queries}
            counts = [f"{number:,} {what}" for what, number in known.items() if number]
            where = f"{each.collection}/{each.split}".rstrip("/")
            log.info("%-24s %s%s", name, where, f" ({', '.join(counts)})" if counts else "")

    def _one(self, name: str, each: EvalSet, systems: Sequence[System]) -> Config:
        collection = described(each.data(), key=f"eval.sets.{name}").open(self._artefacts)
        log.info("%s", repr(collection))
        queries = collection.split(_SPLIT).queries
        for sentence in each.counted(len(collection.document_ids), len(queries)):
            log.warning("%s: %s", name, sentence)
        metrics = each.metrics or self._evaluation.metrics
        rows = self._rows(name, each, collection, metrics, systems)
        show_rows(rows, ["system", "candidates", "queries"], f"{name}: {collection.name}")
        return {
            "collection": collection.name,
            "fingerprint": collection.fingerprint,
            "split": each.split,
            "data": each.data(),
            "documents": len(collection.document_ids),
            "queries": len(queries),
            "metrics": list(metrics),
            "rows": rows,
        }

    def _rows(
        self, name: str, each: EvalSet, collection: Collection, metrics: Sequence[str], systems: Sequence[System]
    ) -> list[Row]:
        qrels = collection.split(_SPLIT).qrels
        if systems and all(isinstance(system, RunFile) for system in systems) and self._teacher is None:
            pipeline = Pipeline(self._evaluation, qrels, {}, "", self._folder, name=name, metrics=metrics)
            return [self._of_file(pipeline, system, collection) for system in systems if isinstance(system, RunFile)]
        candidates = assemble.candidates(of_set(self._candidates, name), self._device)
        first = find_candidates(candidates, Search(collection, _SPLIT, self._artefacts))
        sharing = Sharing(
            self._evaluation.devices, each.data(), self._artefacts.root, self._accelerator, self._folder / SHARES
        )
        ranked = Systems(
            collection, _SPLIT, candidates, first, self._evaluation, self._device, sharing, self._folder,
            name=name, metrics=metrics,
        )  # fmt: skip
        rows = [ranked.first_stage()]
        if self._teacher is not None:
            node = of_set(self._teacher, name)
            rows += ranked.teacher(assemble.teaching(node, collection, self._artefacts, self._device, sharing), node)
        for system in systems:
            if isinstance(system, RunFile):
                rows.append(self._of_file(ranked.pipeline, system, collection))
            else:
                rows += self._of_model(ranked, system, name, each, collection)
        return rows

    def _of_file(self, pipeline: Pipeline, system: RunFile, collection: Collection) -> Row:
        run = read(system.path, collection.split(_SPLIT).queries, collection.name)
        if collection.drop_self:
            run = without_own(run, max(len(ranking.ids) for ranking in run.values()))
        return pipeline.given(system.key, system.label, system.path.name, run)

    def _of_model(self, ranked: Systems, system: Model, name: str, each: EvalSet, collection: Collection) -> list[Row]:
        nodes, ranker, tokenizer = self._loaded(system.folder)
        cache = TokenCache(self._artefacts, tokenizer, collection)
        collator = Collator(tokenizer, ranker.style, collection.query_texts, collection.document_texts, cache)
        fit = partial(_fitted, ranker, collator)
        fitted = fit(each)
        if self._index is not None:
            search = spaces.searching(self._index, collection, system.folder, ranker, self._evaluation)
            return ranked.student(system.key, f"{system.label}, on {self._index.path}", ranker, fitted, nodes, search)
        search = self._pass.of(system.key, name, collection, fitted.style.document_length, fit)
        return ranked.student(system.key, system.label, ranker, fitted, nodes, search)


def read(path: Path, queries: Container[str], whose: str) -> Run:
    """Read a TREC run file.

    Raises
    ------
    ConfigError
        A line is malformed, the file is damaged, or none of its queries is one of ``queries``.
    """
    try:
        run = read_run(path)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    except (EOFError, OSError) as error:
        raise ConfigError(f"{path}: the file is damaged or cannot be read ({error})") from None
    if not run:
        raise ConfigError(f"{path}: the file is empty")
    if not any(query in queries for query in run):
        raise ConfigError(f"{path} ranks none of the queries of {whose}: they do not belong together")
    return run


def _fitted(ranker: Student, collator: Collator, each: EvalSet) -> Collator:
    """Return the collator with the set's lengths; documents are cut where a pair would exceed the backbone's length."""
    collator = with_lengths(collator, each.query_length, each.document_length)
    style, most = collator.style, most_tokens(ranker.backbone)
    if most is None:
        return collator
    overhead = collator.tokenizer.pair_overhead
    if style.paired and style.query_length + style.document_length + overhead > most:
        left = most - style.query_length - overhead
        log.info("documents are cut at %d tokens: the backbone reads %d, and queries may have %d", left, most,
                 style.query_length)  # fmt: skip
        return with_lengths(collator, None, left)
    if not style.paired and max(style.query_length, style.document_length) > most:
        log.info("texts are cut at %d tokens: the backbone reads no more", most)
        return with_lengths(collator, min(style.query_length, most), min(style.document_length, most))
    return collator


def of_set(node: Node, name: str) -> Config:
    """Return a configuration node with ``@set`` in its paths replaced by the name of a set."""

    def put(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: put(each) for key, each in value.items()}
        return value.replace("@set", name) if isinstance(value, str) else value

    return put(node)


def average(sets: Mapping[str, Node]) -> list[Row] | None:
    """Return the macro average of each system over the sets, for the metrics that all sets have.

    None for a single set, and where a set is missing: the average of an incomplete suite would be misleading.
    """
    if len(sets) < 2 or any("missing" in each for each in sets.values()):
        return None
    every = list(sets.values())
    shared = [metric for metric in every[0]["metrics"] if all(metric in each["metrics"] for each in every)]
    keys = [row["key"] for row in every[0]["rows"] if all(row["key"] in _keys(each) for each in every)]
    rows = []
    for key in keys:
        of_key = [next(row for row in each["rows"] if row["key"] == key) for each in every]
        means = {metric: sum(row[metric] for row in of_key) / len(every) for metric in shared}
        rows.append({"key": key, "system": of_key[0]["system"], "sets": len(every), **means})
    return rows if shared else None


def _keys(each: Node) -> set[str]:
    return {row["key"] for row in each["rows"]}
