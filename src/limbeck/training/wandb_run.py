"""The logger of Weights & Biases. Run folders remain the record; W&B only shows it."""

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
"""Matches diagnostics by rank; groups: name and rank."""


@register("logger", "wandb")
class WandB:
    """Weights & Biases: one W&B run per run, grouped by name; a resumed run continues its W&B run.

    Parameters
    ----------
    project
        W&B project.
    entity
        W&B user or team; null is your default.
    mode
        ``offline`` (upload later with ``wandb sync``), ``online`` or ``disabled``.
    job_type
        W&B's job type; null is the verb, such as ``train`` or ``evaluate``.
    tags
        Further tags, in addition to losses, student, collection and teacher.
    log_runs
        Log the TREC run files as artefacts.
    log_model
        Log the trained student as an artefact of type ``model``.

    Raises
    ------
    ValueError
        ``mode`` is unknown, or ``online`` without an API key; or W&B does not allow a name or tag.
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
        self._folder = folder.absolute()  # W&B stores paths, and its process may have another working directory
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
            # A run that is repeated (force=true) replaces its W&B run.
            resume="allow" if earlier and self.mode == "online" else None,
            # Else wandb would continue an open run of an earlier job in this process.
            reinit="finish_previous",
            settings=_settings(),
        )
        self._run.define_metric("dev/*", summary="max,last")
        self._run.define_metric("train/*", summary="min,last")
        if (folder / "env.json").is_file():
            # Copy it into W&B's folder: for a file elsewhere, W&B prints a long message about a link.
            copy = shutil.copy(folder / "env.json", self._run.dir)
            self._run.save(copy, base_path=self._run.dir, policy="now")
        self._split = (config.get("eval") or {}).get("split", "test")
        self._curves = Curves(self._run, after=max(map(wandb_files.last_step, earlier), default=-1))
        return [self._curves]

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Log the results table, per-query values and figures of a run that did not fail, and close the W&B run."""
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
            # With "immutable", W&B uploads the file in the run folder instead of making a copy first.
            kept.add_file(str(path), name=str(path.relative_to(self._folder)), policy="immutable", skip_cache=True)
        run.log_artifact(kept)
        if self.log_model:
            model = wandb.Artifact(f"model-{run.id}", type="model")
            for path in sorted(each for each in (self._folder / "model").rglob("*") if each.is_file()):
                name = str(path.relative_to(self._folder / "model"))
                model.add_file(str(path), name=name, policy="immutable", skip_cache=True)
            run.log_artifact(model)


class Curves(Logger):
    """Lightning logger that writes metrics to W&B's history, with updates as W&B's steps.

    Parameters
    ----------
    run
        The W&B run.
    after
        Last step that the run has logged before it was resumed. Steps up to it are not logged again: a resumed run
        repeats the updates after its checkpoint, and W&B does not merge repeated steps.
    """

    def __init__(self, run: Any, after: int = -1) -> None:
        super().__init__()
        self._run = run
        self.step = after
        self.by_rank: list[list[Any]] = []
        """Rows (step, quantity, rank, value) of the diagnostics by rank, for one table instead of many charts."""
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
        """Log the metrics of a step."""
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
        """Add values to W&B's configuration, such as the device, which is known only when training starts."""
        self._run.config.update(dict(params), allow_val_change=True)


def _settings() -> Any:
    """Return settings that stop W&B from printing and from recording machine, code and packages (see env.json)."""
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
    """Make W&B store artefact files in the run folder, not in the user's home, until they are uploaded."""
    name = "WANDB_DATA_DIR"
    if name in os.environ:
        yield
        return
    os.environ[name] = str(folder.absolute())
    try:
        yield
    finally:
        del os.environ[name]
