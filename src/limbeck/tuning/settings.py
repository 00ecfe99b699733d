"""The settings of a study."""

from typing import Any

from limbeck.evaluation.spelling import spelling
from limbeck.registry import register

SAMPLERS = ("tpe", "random", "grid")
PRUNERS = ("median", "hyperband", "none")


@register("tune", "search")
class Settings:
    """A study of ``limbeck tune``.

    Parameters
    ----------
    space
        The search space: key of the configuration → ``{kind: float, low: …, high: …}``; see ``limbeck.tuning.space``.
        Typed Any: a mapping, null until it is given.
    trials
        Number of all trials, also failed and ended ones; a study that is continued runs the missing ones.
    timeout
        Seconds after which no more trials are started; null for no limit. Running trials are finished.
    metric
        Name of a metric, validated on the dev split while a student is trained. null takes the first of
        ``eval.metrics``.
    direction
        ``maximize`` or ``minimize``.
    sampler
        ``tpe``: tree-structured Parzen estimators, over all parameters at once; ``random``; ``grid``: every combination
        of choices, integers and floats with a step, in order.
    pruner
        ``median``: ends a trial whose best value so far is worse than the median of the others at that step;
        ``hyperband``; ``none``.
    startup
        Random trials before ``tpe``, and completed trials before ``median`` ends one.
    warmup
        Steps of a training before ``median`` ends it.
    workers
        Trials at once, each in its own process with one GPU or a share of the threads.
    storage
        Database URL for Optuna; null is ``sqlite:///runs/NAME/study.db``.
    seed
        Seed of the sampler. The values of trial n depend on it, on n, and on the trials that had ended when trial n
        began.

    Raises
    ------
    ValueError
        A value is unknown or out of range.

    References
    ----------
    Akiba et al., Optuna: A Next-generation Hyperparameter Optimization Framework, KDD 2019.
    """

    def __init__(
        self,
        *,
        space: Any = None,
        trials: int = 20,
        timeout: float | None = None,
        metric: str | None = None,
        direction: str = "maximize",
        sampler: str = "tpe",
        pruner: str = "median",
        startup: int = 5,
        warmup: int = 0,
        workers: int = 1,
        storage: str | None = None,
        seed: int = 1,
    ) -> None:
        for name, value in {"trials": trials, "workers": workers}.items():
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        for name, value in {"startup": startup, "warmup": warmup, "seed": seed}.items():
            if value < 0:
                raise ValueError(f"{name} must be >= 0, got {value}")
        if timeout is not None and not timeout > 0:
            raise ValueError(f"timeout must be > 0 seconds or null, got {timeout}")
        known = {
            "direction": (direction, ("maximize", "minimize")),
            "sampler": (sampler, SAMPLERS),
            "pruner": (pruner, PRUNERS),
        }
        for name, (value, choices) in known.items():
            if value not in choices:
                raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
        if metric is not None and metric.startswith("test/"):
            raise ValueError(
                f"metric must be of the dev split, got {metric!r}: a choice on the test split would bias its results"
            )
        self.space = space
        self.trials = trials
        self.timeout = timeout
        self.metric = None if metric is None else spelling(metric.removeprefix("dev/"), "metric")
        self.direction = direction
        self.sampler = sampler
        self.pruner = pruner
        self.startup = startup
        self.warmup = warmup
        self.workers = workers
        self.storage = storage
        self.seed = seed
