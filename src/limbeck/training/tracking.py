"""Where metrics go: a CSV file, Weights & Biases, or nowhere. Files are the record, W&B is the view."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from lightning.pytorch.loggers import CSVLogger, Logger

from limbeck.registry import register

Row = Mapping[str, Any]


class Tracker(Protocol):
    """One run's view from outside."""

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Open the run and return Lightning's loggers."""
        ...

    def finish(self, rows: Sequence[Row], *, failed: bool) -> None:
        """Record the final table and close the run; always called."""
        ...


@register("logger", "csv")
class CSV:
    """``metrics/version_N/metrics.csv`` in the run folder; a resumed run begins version N + 1."""

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Return the logger."""
        del name, run_id, config  # they stand in config.yaml
        return [CSVLogger(folder, name="metrics")]

    def finish(self, rows: Sequence[Row], *, failed: bool) -> None:
        """Nothing to close: the final table stands in result.json."""


@register("logger", "none")
class Nothing:
    """No metrics beyond train.log and result.json."""

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Return no logger."""
        return []

    def finish(self, rows: Sequence[Row], *, failed: bool) -> None:
        """Nothing to close."""


@register("logger", "wandb")
class WandB:
    """Weights & Biases: one W&B run for each run, grouped by name; a resumed run continues its own.

    Parameters
    ----------
    project, entity
        Where to; entity null is your default.
    mode
        ``offline`` (sync later with ``wandb sync``), ``online`` or ``disabled``.
    tags
        Tags of the run.

    Raises
    ------
    ValueError
        ``mode`` is unknown, or ``online`` without a key.
    """

    def __init__(
        self,
        *,
        project: str = "limbeck",
        entity: str | None = None,
        mode: str = "offline",
        tags: list[str] | None = None,
    ) -> None:
        if mode not in ("offline", "online", "disabled"):
            raise ValueError(f"mode must be offline, online or disabled, got {mode!r}")
        if mode == "online" and not (os.environ.get("WANDB_API_KEY") or (Path.home() / ".netrc").exists()):
            raise ValueError("mode is online, but there is no key: run `wandb login` or set WANDB_API_KEY")
        self.project = project
        self.entity = entity
        self.mode = mode
        self.tags = tags or []
        self._run: Any = None

    def start(self, folder: Path, name: str, run_id: str, config: Mapping[str, Any]) -> list[Logger]:
        """Open the W&B run and return the logger."""
        import wandb
        from lightning.pytorch.loggers import WandbLogger

        if os.environ.get("LOCAL_RANK", "0") != "0":
            return []  # children of a launcher: the first process alone reports
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,  # pyright: ignore[reportArgumentType]
            id=f"{name}-{run_id}",
            name=f"{name}/{run_id}",
            group=name,
            job_type="train",
            tags=self.tags,
            config={**config, "run_id": run_id},
            dir=folder,
            resume="allow",
            # A run that a job of the same process left open would be adopted.
            reinit="finish_previous",
            settings=wandb.Settings(console="off", silent=True),
        )
        return [WandbLogger(experiment=self._run)]

    def finish(self, rows: Sequence[Row], *, failed: bool) -> None:
        """Log the final table, its figures as summary, and close the run."""
        if self._run is None:
            return
        import wandb

        if rows:
            columns: list[Any] = list(rows[0])
            table = wandb.Table(columns=columns, data=[[row.get(column) for column in columns] for row in rows])
            self._run.log({"results": table})
            for row in rows:
                for name, value in row.items():
                    if isinstance(value, float):
                        self._run.summary[f"{row['system']}/{name}"] = value
        self._run.finish(exit_code=1 if failed else 0)
        self._run = None
