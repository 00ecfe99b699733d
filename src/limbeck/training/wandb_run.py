"""Runs in Weights & Biases. Files are the record, W&B is the view."""

import logging
import os
import re
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from limbeck import labels
from limbeck.evaluation.per_query import side_by_side
from limbeck.rankings import Row
from limbeck.registry import register
from limbeck.secrecy import without_secrets
from limbeck.training import wandb_files
from limbeck.training.tracking import Figures, summary
from limbeck.training.wandb_names import NOTED, TAG, check_project, environment, identify, tags

log = logging.getLogger(__name__)

_RANKED = re.compile(r"diagnostics/(\w+_by_rank)/(\d+)")
"""Name and rank of a diagnostic that has a value for each rank."""


@register("logger", "wandb")
class WandB:
    """Weights & Biases: one W&B run for each run, grouped by name; a resumed run continues its own.

    Parameters
    ----------
    project, entity
        Where to; entity null is your default.
    mode
        ``offline`` (sync later with ``wandb sync``), ``online`` or ``disabled``.
    job_type
        What W&B calls the kind of job; null takes the verb: ``train``, ``evaluate``.
    tags
        Tags of the run, beside its loss terms, student, collection and teacher.
    log_runs
        Also keep the TREC run files as artefacts.
    log_model
        Also keep the trained student as an artefact of type ``model``.

    Raises
    ------
    ValueError
        ``mode`` is unknown, or ``online`` without a key; or W&B takes no such name or tag.
    """

    def __init__(
        self,
        *,
        project: str = "limbeck",
        entity: str | None = None,
        mode: str = "offline",
        job_type: str | None = None,
        tags: list[str] | None = None,
        log_runs: bool = False,
        log_model: bool = False,
    ) -> None:
        if mode not in ("offline", "online", "disabled"):
            raise ValueError(f"mode must be offline, online or disabled, got {mode!r}")
        if mode == "online" and not (os.environ.get("WANDB_API_KEY") or (Path.home() / ".netrc").exists()):
            raise ValueError("mode is online, but there is no key: run `wandb login` or set WANDB_API_KEY")
        check_project(project)
        if entity is not None and not re.fullmatch(r"[\w-]+", entity, re.ASCII):
            raise ValueError(f"entity must be letters, digits, - and _, or null, got {entity!r}")
        if job_type is not None and not 0 < len(job_type) <= TAG:
            raise ValueError(f"job_type must have 1 to {TAG} characters, got {job_type!r}")
        for tag in tags or []:
            if not 0 < len(tag) <= TAG:
                raise ValueError(f"tags must have 1 to {TAG} characters each, got {tag!r}")
        self.project = project
        self.entity = entity
        self.mode = mode
        self.job_type = job_type
        self.tags = tags or []
        self.log_runs = log_runs
        self.log_model = log_model
        self._run: Any = None

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Open the W&B run and return the logger."""
        import wandb

        identity = identify(name, run_id)
        env = environment(folder)
        earlier = wandb_files.find(folder, identity)
        self._folder = folder.absolute()  # W&B keeps paths, and its process has a working directory of its own
        self._run = wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,  # pyright: ignore[reportArgumentType]
            id=identity,
            name=labels.of_run(
                list(config.get("loss") or [verb]),
                env.get("overrides") or [],
                config.get("seed"),
                env.get("command") or [],
            ),
            group=name,
            job_type=self.job_type or verb,
            tags=tags(config, self.tags),
            config={**without_secrets(config), "run_id": run_id, **{key: env[key] for key in NOTED if key in env}},
            dir=self._folder,
            # Made anew (force=true), a run replaces what W&B has of it.
            resume="allow" if earlier and self.mode == "online" else None,
            # A run that a job of the same process left open would be adopted.
            reinit="finish_previous",
            settings=_settings(),
        )
        self._run.define_metric("dev/*", summary="max,last")
        self._run.define_metric("train/*", summary="min,last")
        if (folder / "env.json").is_file():
            # A copy where W&B keeps its files: of a file elsewhere it says at length that it has made a link.
            copy = shutil.copy(folder / "env.json", self._run.dir)
            self._run.save(copy, base_path=self._run.dir, policy="now")
        self._split = (config.get("eval") or {}).get("split", "test")
        self._curves = Curves(self._run, after=max(map(wandb_files.last_step, earlier), default=-1))
        return [self._curves]

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Record the final table, values per query and figures of a run that is whole; close the run."""
        run, self._run = self._run, None
        if run is None:
            return
        try:
            if not failed and self.mode != "disabled":
                with _staged_in(self._folder / "wandb"):
                    self._report(run, rows, [path.absolute() for path in figures()])
        except BaseException:
            failed = True
            raise
        finally:
            place = Path(run.dir).parent
            run.finish(exit_code=1 if failed else 0)
            if self.mode == "offline":
                log.info("W&B: offline; to upload it: wandb sync %s", shlex.quote(str(place)))

    def _report(self, run: Any, rows: Sequence[Row], figures: Sequence[Path]) -> None:
        import wandb

        columns: list[Any] = list(dict.fromkeys(column for row in rows for column in row))
        data: Any = [[row.get(column) for column in columns] for row in rows]
        results = wandb.Table(columns=columns, data=data)
        shown: dict[str, Any] = {f"figures/{path.stem}": wandb.Image(str(path)) for path in figures}
        ranked: Any = self._curves.by_rank
        if ranked:
            shown["diagnostics/by_rank"] = wandb.Table(columns=["step", "quantity", "rank", "value"], data=ranked)
        run.log({"results": results, **shown}, step=self._curves.step + 1)
        for name, value in summary(rows, self._split).items():
            run.summary[name] = value
        kept = wandb.Artifact(f"evaluation-{run.id}", type="evaluation")
        for name, table in side_by_side(self._folder / "per_query").items():
            data = [list(row.values()) for row in table.to_pylist()]
            kept.add(wandb.Table(columns=table.column_names, data=data), f"per_query/{name}")
        trec = sorted((self._folder / "runs").glob("*.trec")) if self.log_runs else []
        for path in [*figures, *trec]:
            # Immutable: the file in the run folder is uploaded, not a copy elsewhere.
            kept.add_file(str(path), name=str(path.relative_to(self._folder)), policy="immutable", skip_cache=True)
        run.log_artifact(kept)
        if self.log_model:
            model = wandb.Artifact(f"model-{run.id}", type="model")
            for path in sorted(each for each in (self._folder / "model").rglob("*") if each.is_file()):
                name = str(path.relative_to(self._folder / "model"))
                model.add_file(str(path), name=name, policy="immutable", skip_cache=True)
            run.log_artifact(model)


class Curves(Logger):
    """Lightning's metrics as W&B's history, with the update as W&B's own step.

    Parameters
    ----------
    run
        The W&B run.
    after
        Last step that earlier processes have recorded: a resumed run goes on behind it, since it repeats the updates
        behind its checkpoint, and steps that are twice there are not merged.
    """

    def __init__(self, run: Any, after: int = -1) -> None:
        super().__init__()
        self._run = run
        self.step = after
        self.by_rank: list[list[Any]] = []
        """Step, quantity, rank and value of the diagnostics that have one value a rank: a table, not a chart each."""
        self._after = after

    @property
    def name(self) -> str:
        """Name of the project."""
        return str(self._run.project)

    @property
    def version(self) -> str:
        """Id of the W&B run."""
        return str(self._run.id)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Record values of a step."""
        assert step is not None, "Lightning numbers its steps"
        if step <= self._after:
            return
        curves = {}
        for name, value in metrics.items():
            ranked = _RANKED.fullmatch(name)
            if ranked is None:
                curves[name] = value
            else:
                self.by_rank.append([step, ranked[1], int(ranked[2]), float(value)])
        self._run.log(curves, step=step)
        self.step = max(self.step, step)

    def log_hyperparams(self, params: Mapping[str, Any], *_: Any) -> None:
        """Add what is known once the training has begun, as the device; the configuration is recorded at the start."""
        self._run.config.update(dict(params), allow_val_change=True)


def _settings() -> Any:
    """Return settings by which W&B neither prints nor looks at machine, code and packages: env.json has them."""
    import wandb

    return wandb.Settings(
        console="off",
        silent=True,
        disable_code=True,
        disable_git=True,
        save_code=False,
        host="",
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


@contextmanager
def _staged_in(folder: Path) -> Iterator[None]:
    """Keep the files of artefacts in the run folder until they are synced, not in the user's home."""
    name = "WANDB_DATA_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ[name]
