"""One evaluation: its systems, its sets, and the tables it prints."""

import logging
from collections.abc import Mapping
from pathlib import Path

from limbeck.artefacts import Artefacts
from limbeck.config import Config, ConfigError, Node, fingerprint
from limbeck.data.collection import SYNTHETIC
from limbeck.data.opening import described
from limbeck.evaluation.pipeline import Pipeline
from limbeck.evaluation.settings import evaluation
from limbeck.experiment import assemble, emulated
from limbeck.experiment.own_data import data_of
from limbeck.experiment.run_folder import RunFolder
from limbeck.experiment.suite import Model, RunFile, Suite, System, average, read
from limbeck.reporting.results.systems import Named, config, file_name, find, weights
from limbeck.reporting.terminal import show_rows
from limbeck.search.shards import Store
from limbeck.students.folders import space_of
from limbeck.training.checkpoints import load_student

log = logging.getLogger(__name__)

_SET = "eval_set/eval_set"
_FILE = "qrels"
"""Name of the set whose judgments come from ``qrels=FILE``."""


class Evaluating:
    """One call of ``limbeck evaluate``.

    The constructor looks everything up and checks it before a collection is opened.

    Parameters
    ----------
    config
        Plain containers.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._artefacts = Artefacts(Path(config["paths"]["cache"]))
        node = dict(config["eval"])
        self._sets: Config = {name: dict(each) for name, each in (node.pop("sets") or {}).items()}
        if config["metrics"] is not None:
            node["metrics"] = list(config["metrics"])
            self._sets = {name: {**each, "metrics": None} for name, each in self._sets.items()}
        self._evaluation = evaluation(node)
        self._models = [] if config["run"] is None else _models(config["run"], Path(config["paths"]["runs"]))
        self._files = [] if config["run_file"] is None else _files(config["run_file"])
        if config["qrels"] is not None and not Path(config["qrels"]).is_file():
            raise ConfigError(f"qrels: there is no file {config['qrels']}")
        self._index = None if config["index"] is None else Store(Path(config["index"]))
        if self._index is not None and self._evaluation.pipeline not in ("auto", ["search"]):
            raise ConfigError("index: its documents are searched, and not re-ranked or fused; leave eval.pipeline out")
        self._seeds = {key: (named.name, named.seed) for key, named in self._models}
        if self._models and not self._sets:
            self._sets = _own_sets([named for _, named in self._models], self._artefacts)
        emulated.warn({"eval": node}, assemble.device(config["accelerator"]))
        keys = [key for key, _ in self._models] + [file.key for file in self._files]
        taken = {key for key in keys if keys.count(key) > 1} | ({"teacher", "first_stage"} & set(keys))
        if taken:
            raise ConfigError(
                f"run: two systems are called {min(taken)}; name them: run={{one: FOLDER, other: FOLDER}}"
            )
        asked = ("candidates", "teacher", "qrels")
        self.identity = fingerprint(
            {
                **{key: config[key] for key in asked},
                "eval": {key: value for key, value in node.items() if key != "devices"},
                "sets": self._sets,
                "models": {key: weights(named.model) for key, named in self._models},
                "index": None if self._index is None else fingerprint(self._index.identity),
                "files": {file.key: [str(file.path), file.path.stat().st_mtime_ns] for file in self._files},
            }
        )[:8]

    def baseline(self) -> str | None:
        """Return the key of the system that the others are compared with; None if there is no baseline."""
        given = self._config["baseline"]
        if given is None:
            return None
        known = {key: {key, named.name, str(named.path)} for key, named in self._models}
        known |= {file.key: {file.key, file.label, str(file.path)} for file in self._files}
        known["first_stage"] = {"first_stage"}
        known |= {} if self._config["teacher"] is None else {"teacher": {"teacher"}}
        found = next((key for key, names in known.items() if str(given).rstrip("/") in names), None)
        if found is None:
            raise ConfigError(f"baseline: {given!r} is none of the systems: {', '.join(known)}")
        return found

    def run(self, folder: Path) -> Config:
        """Evaluate, write ``result.json`` and print the tables; return the result."""
        systems: list[System] = [
            Model(key, _label(named, self._models), self._folder(named, folder / "models" / key))
            for key, named in self._models
        ]
        systems += self._files
        if self._config["qrels"] is not None:
            sets = {_FILE: self._judged_by_file(folder)}
        else:
            suite = Suite(
                self._evaluation,
                self._sets,
                self._config["candidates"],
                self._config["teacher"],
                self._artefacts,
                self._config["accelerator"],
                folder,
                self._index,
            )
            sets = suite.run(systems)
        result = {
            "name": self._config["name"],
            "systems": self._told_systems(sets),
            "sets": sets,
            "average": average(sets),
        }
        RunFolder(folder).finish(result)
        _show_average(result)
        log.info("\n%s: result.json, runs/, per_query/", folder)
        return result

    def _folder(self, named: Named, target: Path) -> Path:
        """Return the folder of a model; a checkpoint is first saved as one."""
        if not named.path.is_file():
            return named.path
        nodes = config(named.path.parents[1])
        trained_on = assemble.collection(nodes["data"], self._artefacts)
        student, collator = assemble.ranker(nodes["student"], nodes["backbone"], trained_on, self._artefacts, anew=True)
        load_student(named.path, student)
        run = named.path.parents[1]
        assemble.save(student, collator.tokenizer, target, nodes["student"], run.name, space_of(run))
        return target

    def _judged_by_file(self, folder: Path) -> Config:
        from limbeck.evaluation.qrels import read_qrels

        path = Path(self._config["qrels"])
        try:
            qrels = read_qrels(path)
        except (ValueError, OSError) as error:
            raise ConfigError(str(error)) from None
        pipeline = Pipeline(self._evaluation, qrels, {}, "", folder, name=_FILE)
        rows = [pipeline.given(file.key, file.label, "", read(file.path, qrels, str(path))) for file in self._files]
        metrics = self._evaluation.metrics
        show_rows(rows, ["system", "queries", "ranked"], str(path))
        return {"collection": str(path), "split": "", "queries": len(qrels), "metrics": metrics, "rows": rows}

    def _told_systems(self, sets: Node) -> Config:
        """Return name, seed and path of every system that has a row on some set."""
        described: Config = {}
        files = {file.key: str(file.path.resolve()) for file in self._files}
        for each in sets.values():
            for row in each.get("rows", []):
                name, seed = self._seeds.get(row["key"], (row["system"], None))
                if row["key"] not in described:
                    described[row["key"]] = {"name": name, "seed": seed, "file": files.get(row["key"])}
        return described

    def calibrate(self, folder: Path, lists: int) -> None:
        """Compare the students of finished runs with their teachers, on ``lists`` lists of each split."""
        from limbeck.experiment.calibrate import calibrate

        runs = [named for _, named in self._models]
        for named in runs:
            if not named.run:
                raise ConfigError(
                    f"calibration: {named.path} is no run, so its teacher is not known; set calibration=0"
                )
        if not runs:
            raise ConfigError("calibration compares students with their teachers: give run=FOLDER")
        calibrate(
            runs,
            lists,
            artefacts=self._artefacts,
            accelerator=self._config["accelerator"],
            bf16=self._evaluation.bf16,
            out=folder,
        )

    def show(self, result: Node) -> None:
        """Print the tables of a finished evaluation."""
        for name, each in result["sets"].items():
            if "missing" not in each:
                words = ["system", "queries", "ranked"]
                if any(row["candidates"] for row in each["rows"]):
                    words.insert(1, "candidates")
                show_rows(each["rows"], words, f"{name}: {each['collection']}")
        _show_average(result)


def _show_average(result: Node) -> None:
    if result["average"] is not None:
        rows = result["average"]
        show_rows(rows, ["system", "sets"], f"macro average over {rows[0]['sets']} sets")
    elif len(result["sets"]) > 1:
        missing = [name for name, each in result["sets"].items() if "missing" in each]
        if missing:
            log.warning("no average: %s missing", ", ".join(missing))


def _label(named: Named, every: list[tuple[str, Named]]) -> str:
    alike = [each for _, each in every if each.name == named.name]
    return named.name if len(alike) == 1 else f"{named.name} seed={named.seed}"


def _models(given: object, root: Path) -> list[tuple[str, Named]]:
    found = find(given, key="run", root=root)
    every = [("", named) for named in found]
    return [(file_name(_label(named, every)), named) for named in found]


def _files(given: str | list[str] | Node) -> list[RunFile]:
    named = given if isinstance(given, Mapping) else None
    words = [given] if isinstance(given, str) else list(given)
    pairs = list(named.items()) if named else [(Path(str(word)).name.removesuffix(".gz"), word) for word in words]
    files = []
    for name, word in pairs:
        path = Path(str(word)).expanduser()
        if not path.is_file():
            raise ConfigError(f"run_file: there is no file {str(path)!r}")
        files.append(RunFile(file_name(str(name).removesuffix(".trec")), str(name), path))
    return files


def _own_sets(models: list[Named], artefacts: Artefacts) -> Config:
    """Return the test split of the collection that the runs were trained on, as a set."""
    sets: Config = {}
    for named in models:
        data = data_of(named.path)
        if data is None:
            raise ConfigError(f"eval: the collection of {named.path} is unknown; choose sets, as eval=beir_13")
        place = data["collection"]
        name = Path(place).name
        if place == SYNTHETIC:  # the synthetic world becomes a folder once it is written
            opened = described(data).open(artefacts)
            place = str(opened.folder)
        own = {"collection": place, "split": data["test"] or "", "drop_self": data.get("drop_self", False)}
        if sets.setdefault(name, {"_target_": _SET, **own}) != {"_target_": _SET, **own}:
            raise ConfigError(f"eval: the runs were trained on different collections called {name}; choose sets")
    return sets
