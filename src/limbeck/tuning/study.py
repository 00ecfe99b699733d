"""The study in its database: open or continue it; its sampler and pruner."""

import hashlib
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import ConfigError, differences, identity
from limbeck.tuning.settings import Settings
from limbeck.tuning.space import Parameter, Value

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial

_BEGUN = "begun_with"
"""Attribute of a study that records what its values depend on."""


def storage(settings: Settings, folder: Path) -> str:
    """Return the URL of the database."""
    if settings.storage is not None:
        return settings.storage
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'study.db'}"


def open_study(
    settings: Settings, name: str, folder: Path, base: dict[str, Any], space: Sequence[Parameter], metric: str
) -> "Study":
    """Open a study, or continue it.

    Parameters
    ----------
    settings
        Its settings.
    name
        Its name.
    folder
        Its folder.
    base
        Configuration that all trials share, as plain containers.
    space
        The parameters.
    metric
        The metric of the trials.

    Raises
    ------
    ConfigError
        Optuna is not installed, the database cannot be opened, or the study was started with other settings.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("limbeck tune needs Optuna: pip install 'limbeck[tune]'") from None
    from sqlalchemy.exc import SQLAlchemyError

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    url = storage(settings, folder)
    try:
        study = optuna.create_study(
            storage=url, study_name=name, direction=settings.direction, pruner=pruner(settings), load_if_exists=True
        )
    except (SQLAlchemyError, ImportError, ValueError) as error:
        raise ConfigError(f"tune.storage: {url} cannot be opened: {str(error).splitlines()[0]}") from None
    begun = {
        "base": identity(base),
        "space": {each.key: each.described() for each in space},
        "metric": metric,
        "direction": settings.direction,
    }
    before = study.user_attrs.get(_BEGUN)
    if before is None:
        study.set_user_attr(_BEGUN, begun)
    elif changed := differences(before, begun):
        raise ConfigError(
            f"name={name}: this study was started with another {', '.join(_short(changed))}; values would not be "
            "comparable. Run the original command, or choose another name=… for a new study"
        )
    return study


def _short(keys: Sequence[str]) -> list[str]:
    shown = [key.removeprefix("base.") for key in keys[:4]]
    return [*shown, f"… ({len(keys)} keys)"] if len(keys) > len(shown) else shown


def sampler(settings: Settings, number: int) -> "BaseSampler":
    """Return the sampler of one trial.

    Optuna does not store the state of a sampler: a continued study would draw the first numbers again. Seeded by the
    number of the trial, the sampler draws the same numbers as in an uninterrupted study.

    Parameters
    ----------
    settings
        The settings of the study.
    number
        Number of the trial.
    """
    import optuna

    seed = int(hashlib.sha256(f"{settings.seed} {number}".encode()).hexdigest()[:8], 16)
    if settings.sampler == "tpe":
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=settings.startup,
            multivariate=True,
            group=True,  # some trials lack some parameters
            constant_liar=settings.workers > 1,
        )
    return optuna.samplers.RandomSampler(seed=seed)  # the points of a grid come from the queue


def pruner(settings: Settings) -> "BasePruner":
    """Return the pruner, which decides which trials are ended early."""
    import optuna

    if settings.pruner == "median":
        return optuna.pruners.MedianPruner(n_startup_trials=settings.startup, n_warmup_steps=settings.warmup)
    return optuna.pruners.HyperbandPruner() if settings.pruner == "hyperband" else optuna.pruners.NopPruner()


def enqueue(study: "Study", points: Sequence[dict[str, Value]]) -> None:
    """Put the points of a grid into the queue, without those that the study already has."""
    for point in points:
        study.enqueue_trial(point, skip_if_exists=True)


def left_running(study: "Study", settings: Settings) -> "list[Trial]":
    """Return running trials of a process that no longer exists; they continue under their own numbers."""
    import optuna

    found = []
    for left in study.get_trials(deepcopy=False, states=(optuna.trial.TrialState.RUNNING,)):
        study.sampler = sampler(settings, left.number)  # it may have been killed before all parameters were drawn
        found.append(optuna.trial.Trial(study, left._trial_id))
    return found
