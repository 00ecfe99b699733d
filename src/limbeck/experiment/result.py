"""Results of the functions in Python; they print as the commands print."""

from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import Config, ConfigError, Node

if TYPE_CHECKING:
    import pandas

    from limbeck.experiment.text_ranker import TextRanker
    from limbeck.rankings import Row


class Result:
    """The result of a verb. It prints as the command prints, and a notebook shows the same.

    Parameters
    ----------
    rows
        The rows of its table, as plain mappings.
    folder
        Folder of the result; None where nothing is written.
    record
        The whole result, as in the JSON file there.
    """

    def __init__(self, rows: "Sequence[Row]", folder: str | Path | None = None, record: Node | None = None) -> None:
        from limbeck.screen import Shown  # imports rich

        self.rows = [dict(row) for row in rows]
        self.folder = None if folder is None else Path(folder)
        self.record = dict(record or {})
        self.shown = Shown()

    def __str__(self) -> str:
        return self.shown.text() or "\n".join(f"{name}: {value}" for name, value in self.record.items()) or repr(self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self.rows)} rows{'' if self.folder is None else f', {self.folder}'}>"

    def _repr_html_(self) -> str:
        return self.shown.html() if self.shown.text() else f"<pre>{escape(str(self))}</pre>"

    def to_pandas(self) -> "pandas.DataFrame":
        """Return the rows as a table of pandas.

        Raises
        ------
        ConfigError
            pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ConfigError("to_pandas() needs pandas: pip install pandas; rows are the same without it") from None
        return pandas.DataFrame(self.rows)


class RunResult(Result):
    """One training and its evaluation.

    Attributes
    ----------
    students : list of dict
        The rows of the distilled student, one for each stage of its pipeline.
    metrics : dict
        Metric → value of the distilled student, at the last stage of its pipeline; empty where nothing ran.
    record : dict
        The contents of ``result.json``.
    """

    def __init__(self, folder: str | Path, record: Node | None, overrides: Sequence[str] = ()) -> None:
        super().__init__((record or {}).get("rows", []), folder, record)
        from limbeck.reporting.terminal import is_of, metrics_of  # imports numpy and rich

        self.overrides = list(overrides)
        self.students = found = [row for row in self.rows if is_of(row, "student")]
        self.metrics: dict[str, float] = {name: found[-1][name] for name in metrics_of(found)} if found else {}

    def __repr__(self) -> str:
        words = [*self.overrides, *(f"{name} {value:.4f}" for name, value in self.metrics.items())]
        return f"<RunResult {self.folder}{': ' if words else ''}{', '.join(words)}>"

    def ranker(self, **options: Any) -> "TextRanker":
        """Load the trained student: ``limbeck.load`` with the run's folder and ``options``."""
        from limbeck.experiment.loading import load

        assert self.folder is not None, "a run has a folder"
        return load(self.folder, **options)


class SweepResult(Result):
    """The runs of a sweep; its rows are those of the students, with the overrides that vary.

    Attributes
    ----------
    runs : list of RunResult
        The finished runs.
    failed : list
        ``overrides`` and ``error`` of each of the others.
    """

    def __init__(self, outcomes: Sequence[Node]) -> None:
        done = [each for each in outcomes if "result" in each]
        self.runs = [RunResult(each["folder"], each["result"], each["overrides"]) for each in done]
        self.failed = [{key: each[key] for key in ("overrides", "error")} for each in outcomes if "error" in each]
        rows = [_varied(each["overrides"]) | {"state": each["state"]} for each in outcomes if "state" in each]
        for run in self.runs:
            rows += [{**_varied(run.overrides), **_without_key(row), "folder": str(run.folder)} for row in run.students]
        folders = [Path(each["folder"]).parent for each in outcomes if each["folder"]]
        super().__init__(rows, folders[0] if folders else None)

    def __repr__(self) -> str:
        failed = f", {len(self.failed)} failed" if self.failed else ""
        return f"<SweepResult of {len(self.runs)} runs{failed}, {self.folder}>"

    def best(self, metric: str | None = None) -> RunResult:
        """Return the run whose student is best by a metric; None takes the first metric."""
        if not self.runs:
            raise ValueError("no run of the sweep is finished")
        metric = metric or next(iter(self.runs[0].metrics))
        if metric not in self.runs[0].metrics:
            raise ValueError(f"metric must be one of {', '.join(self.runs[0].metrics)}, got {metric!r}")
        return max(self.runs, key=lambda run: run.metrics[metric])


def _varied(overrides: Sequence[str]) -> Config:
    return {key: value for key, _, value in (word.partition("=") for word in overrides)}


def _without_key(row: "Row") -> Config:
    return {name: value for name, value in row.items() if name != "key"}


class Configuration(dict[str, object]):
    """A composed configuration as plain containers; it prints as YAML.

    Attributes
    ----------
    folder : pathlib.Path or None
        Folder of the run.
    """

    def __init__(self, config: Node, folder: Path | None) -> None:
        super().__init__(config)
        self.folder = folder

    def __str__(self) -> str:
        import yaml

        return yaml.safe_dump(dict(self), sort_keys=False, allow_unicode=True)
