"""Studies: tune options of ``limbeck train``, one process per trial."""

import json
import logging
import shlex
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import ConfigError, build, check_node, home, identity, run_id
from limbeck.experiment.groups import without_null
from limbeck.experiment.messages import explain
from limbeck.experiment.placing import Start, placing
from limbeck.experiment.run_folder import RunFolder, below
from limbeck.experiment.train import plan
from limbeck.locks import locked
from limbeck.secrecy import masked
from limbeck.unfinished import write_text

if TYPE_CHECKING:
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from omegaconf import DictConfig

    from limbeck.tuning.best import Word
    from limbeck.tuning.configurations import Configurations, Planned
    from limbeck.tuning.on_ray import RayProcess
    from limbeck.tuning.process import Process
    from limbeck.tuning.settings import Settings
    from limbeck.tuning.space import Parameter

log = logging.getLogger(__name__)

_OWN = ("tune", "tuning", "name", "dry_run", "launcher")


def tune(config: "DictConfig", overrides: Sequence[str], config_dirs: Sequence[str] = ()) -> None:
    """Run the missing trials of a study, show the best, and write it as an experiment.

    With ``dry_run``, the search space is printed, and nothing is trained or written.

    Parameters
    ----------
    config
        ``conf/tune.yaml`` as composed by Hydra.
    overrides
        The overrides it was composed from; those of ``limbeck train`` go into each trial.
    config_dirs
        Folders of configurations besides limbeck's, as in ``--config-dir``.
    """
    from omegaconf import OmegaConf

    from limbeck.tuning.space import grid, parse

    check_node(config.tune, "tune")
    node: Any = OmegaConf.to_container(config.tune, resolve=True)
    settings: Settings = build(node, key="tune")
    space = parse(settings.space)
    if settings.sampler == "grid":
        grid(space)  # raises, before anything is composed, if the grid is not finite
    trainer = _Trainer(list(overrides), str(config.name), config_dirs)
    trainer.validates(settings)
    folder = below(config.paths.runs, config.name)
    if config.dry_run:
        _show(settings, trainer, trainer.configurations(space))
        return
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder / ".tune.lock", f"the study in {folder}"), placing(config.launcher) as start:
        _search(settings, trainer, trainer.configurations(space), folder, start)


def _search(
    settings: "Settings", trainer: "_Trainer", configurations: "Configurations", folder: Path, start: Start
) -> None:
    from limbeck.reporting.study_table import TrialLog, show
    from limbeck.tuning.study import enqueue, open_study
    from limbeck.tuning.trials import Runs, Search, grid_points

    base = configurations.planned_base.config
    study = open_study(settings, trainer.name, folder, base, configurations.space, trainer.metric)
    total = settings.trials
    if settings.sampler == "grid":
        points = grid_points(configurations)[:total]
        enqueue(study, points)
        total = len(points)
    log_trial = TrialLog(study, trainer.metric, total)
    runs = Runs(partial(trainer.start, start), lambda path: RunFolder(path).busy(), trainer.value)
    Search(settings, study, configurations, runs, folder, total, log_trial).run()
    best = show(study, trainer.metric, total)
    words = [*trainer.base, *configurations.words(best.params)]
    header = [
        f"Best of the study {trainer.name}: {trainer.metric} {best.value:.4f} on dev, trial {best.number} of "
        f"{len(study.trials)}, run {best.user_attrs['run']}",
        f"Command: {shlex.join(['limbeck', *masked(sys.argv[1:])])}",
    ]
    trainer.write_best(folder / "best.yaml", words, header)


def _show(settings: "Settings", trainer: "_Trainer", configurations: "Configurations") -> None:
    """Print the space, the number of trials, and one configuration: the first of a grid, else the lowest values."""
    from limbeck.reporting.study_table import show_plan
    from limbeck.tuning.trials import grid_points

    points = grid_points(configurations)[: settings.trials] if settings.sampler == "grid" else []
    values = points[0] if points else configurations.drawn(lambda each: each.extremes()[0])
    words = configurations.words(values)
    planned = configurations.planned(words)
    show_plan(
        f"{trainer.name}: {len(points) or settings.trials} trials of sampler {settings.sampler}, pruner "
        f"{settings.pruner}, judged by {trainer.metric} on dev",
        {each.key: each.described() for each in configurations.space},
        f"{'the first' if points else 'one'} configuration: {' '.join(words)}",
        {**planned.config, "run": planned.folder},
    )


class _Trainer:
    """``limbeck train`` with the overrides that were typed.

    Parameters
    ----------
    typed
        All overrides of this command.
    name
        Name of the study and of its runs.
    config_dirs
        As in ``tune``.
    """

    def __init__(self, typed: Sequence[str], name: str, config_dirs: Sequence[str]) -> None:
        from limbeck.tuning import best

        self._config_dirs = config_dirs
        self._loader = _loader(config_dirs)
        self.name = name
        words = self._taken_apart(typed)
        kept = [word for word in words if word.key.split(".")[0] not in _OWN]
        best.check(kept)
        self.base = [*(word.text for word in kept)]
        self.metric = ""

    def _taken_apart(self, words: Sequence[str]) -> list["Word"]:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        from limbeck.tuning.best import Word

        return [
            Word(
                each.input_line or "",
                each.key_or_group,
                None if each.is_delete() else _plain(each.value()),
                self._loader.repository.group_exists(each.key_or_group),
                each.is_delete() or each.package is not None,
            )
            for each in OverridesParser.create().parse_overrides(list(words))
        ]

    def compose(self, words: Sequence[str]) -> "DictConfig":
        """Compose the configuration of a run."""
        from hydra.types import RunMode
        from omegaconf import open_dict

        words = without_null("train", [*words, f"name={self.name}"])
        composed = self._loader.load_configuration("train", words, RunMode.RUN)
        with open_dict(composed):
            del composed["hydra"]
        return composed

    def validates(self, settings: "Settings") -> None:
        """Find out the metric of the trials, and refuse runs that are not validated on a dev split.

        Raises
        ------
        ConfigError
            The runs would not validate, or the dev split is the test split.
        """
        from limbeck.evaluation.settings import evaluation

        config, _ = plan(self.compose(self.base), self.base)
        metrics = evaluation(config["eval"]).metrics
        self.metric = settings.metric or metrics[0]
        if self.metric != metrics[0]:  # training validates by the first metric and keeps the best checkpoint by it
            listed = ",".join([self.metric, *(each for each in metrics if each != self.metric)])
            self.base = [
                *(word for word in self.base if not word.startswith("eval.metrics=")),
                f"eval.metrics=[{listed}]",
            ]
        data, trainer = config["data"], config["trainer"]
        if not trainer["validate_every"]:
            raise ConfigError(
                "trainer.validate_every is 0, so that no student is validated; trials are judged by their dev split: "
                "set trainer.validate_every=N"
            )
        if data["dev"] is None and not data["dev_queries"]:
            raise ConfigError(
                "data.dev is null, and trials are judged by their dev split: name one, or hold out training queries "
                "(data.dev_queries=N)"
            )
        if data["dev"] is not None and data["dev"] == data["test"]:
            raise ConfigError(
                f"data.dev and data.test are both {data['test']!r}: what is chosen by the test split says nothing of "
                "it; name another dev split, or hold out training queries (data.dev=null data.dev_queries=N)"
            )
        if settings.workers > 1 and trainer["devices"] * trainer["num_nodes"] > 1:
            raise ConfigError("tune.workers > 1 gives each trial one device: set trainer.devices=1 trainer.num_nodes=1")
        self._last = config["eval"]["checkpoint"] == "last"

    def configurations(self, space: "Sequence[Parameter]") -> "Configurations":
        """Return the configurations of the study."""
        from limbeck.tuning.configurations import Configurations

        return Configurations(self.base, space, self.compose, _planned, explain)

    def start(self, begin: Start, words: list[str], log_file: Path, seen: dict[str, str]) -> "Process | RayProcess":
        """Start the process of a trial."""
        dirs = [word for folder in self._config_dirs for word in ("--config-dir", folder)]
        typed = ["train", *dirs, *self.base, *words, f"name={self.name}"]
        return begin("limbeck.cli.trial", typed, log_file, seen)

    def value(self, folder: Path) -> float | None:
        """Return the value of the checkpoint that a finished run kept."""
        from limbeck.training.validations import read

        result = RunFolder(folder).result()
        if result is None:
            return None
        if self._last and (validated := read(folder)):
            return validated[-1].value
        value = result["training"].get(f"dev/{self.metric}")
        return None if value is None else float(value)

    def write_best(self, path: Path, words: Sequence[str], header: Sequence[str]) -> None:
        """Write an experiment, and check that it composes exactly the run of the best trial.

        Raises
        ------
        ConfigError
            It composes another run.
        """
        import tempfile

        from omegaconf import OmegaConf

        from limbeck.tuning.best import experiment

        def raw(typed: Sequence[str]) -> Any:
            return OmegaConf.to_container(self.compose(typed), resolve=False)

        where = [word for word in words if word.startswith(("paths.", "paths=", "logger", "checks"))]
        name = f"{self.name}_best"
        text = experiment(self._taken_apart(words), raw, name=name, header=header)
        write_text(path, text)
        with tempfile.TemporaryDirectory() as scratch:
            (Path(scratch) / "experiment").mkdir()
            (Path(scratch) / "experiment" / f"{name}.yaml").write_text(text, encoding="utf-8")
            again, _ = plan(self._beside(scratch).compose([f"experiment={name}", *where]), where)
        wanted, _ = plan(self.compose(words), words)
        if run_id(again) != run_id(wanted):
            from limbeck.config import differences

            keys = ", ".join(differences(identity(wanted), identity(again)))
            raise ConfigError(f"{path} does not make the run of the best trial: it differs in {keys}")
        log.info("the best as an experiment: %s", path)

    def _beside(self, folder: str) -> "_Trainer":
        """Return a copy with one more folder of configurations."""
        from copy import copy

        other = copy(self)
        other._loader = _loader(self._config_dirs, before=folder)
        return other


def _loader(folders: Sequence[str], before: str | None = None) -> "ConfigLoaderImpl":
    """Return Hydra's loader of limbeck's configurations and those of other folders; ``before`` comes first of all."""
    from hydra._internal.config_loader_impl import ConfigLoaderImpl
    from hydra._internal.utils import create_config_search_path
    from hydra.core.config_search_path import SearchPathQuery

    path = create_config_search_path(str(home() / "conf"))
    for folder in folders:
        path.prepend("command-line", f"file://{Path(folder).absolute()}", SearchPathQuery(provider="schema"))
    if before is not None:
        path.prepend("limbeck-tune", f"file://{before}")
    return ConfigLoaderImpl(path)


def _planned(composed: "DictConfig", words: Sequence[str]) -> "Planned":
    from limbeck.tuning.configurations import Planned

    config, folder = plan(composed, words)
    return Planned(config, folder.path)


def _plain(value: Any) -> Any:
    """Return the value of an override, with Hydra's quoted strings as plain ones."""
    return json.loads(json.dumps(value, default=lambda each: each.text))
