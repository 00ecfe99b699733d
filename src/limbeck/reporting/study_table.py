"""The output of ``limbeck tune``: one line per trial, and the best trials at the end."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from limbeck.amounts import duration
from limbeck.config import FailedError, part_name
from limbeck.reporting.terminal import show_rows
from limbeck.screen import console

if TYPE_CHECKING:
    from optuna.study import Study
    from optuna.trial import FrozenTrial

log = logging.getLogger(__name__)

_SHOWN = 10
_ENOUGH = 10
"""Completed trials from which the importance of parameters is meaningful."""


def show_plan(title: str, space: Mapping[str, Mapping[str, Any]], chosen: str, config: Mapping[str, Any]) -> None:
    """Print the search space of a study, and the configuration of one of its runs.

    Parameters
    ----------
    title
        Title of the study, with its trials.
    space
        Key → ``kind`` and ``values``, or ``low``, ``high`` and ``step``.
    chosen
        Description of the run.
    config
        Configuration of the run, as plain containers, with its folder as ``run``.
    """
    _print(title)
    _show_columns([(key, each["kind"], _range(each)) for key, each in space.items()])
    trainer, teacher = config["trainer"], config["teacher"]
    facts = {
        "run": config["run"],
        "collection": config["data"]["collection"],
        "dev split": config["data"]["dev"] or f"{config['data']['dev_queries']} training queries",
        "student": f"{part_name(config['student'])}, backbone {part_name(config['backbone'])}",
        "teacher": part_name(teacher) if teacher else "none",
        "loss": "+".join(config["loss"]),
        "learning rate": config["optim"]["lr"] or "that of the backbone",
        "training": f"{trainer['epochs']:g} epochs" if trainer["steps"] is None else f"{trainer['steps']} steps",
        "validated": f"every {trainer['validate_every']} steps",
    }
    _print(chosen)
    _show_columns([(key, str(value)) for key, value in facts.items()])


def _show_columns(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        _print("  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())


def _print(line: str) -> None:
    console(soft_wrap=True).print(line, markup=False, highlight=False)  # loss=[kl] must not be read as markup


def _range(space: Mapping[str, Any]) -> str:
    if space["kind"] == "choice":
        return ", ".join(map(str, space["values"]))
    step = "" if space["step"] is None else f", step {space['step']:g}"
    return f"{space['low']:g} to {space['high']:g}{step}"


class TrialLog:
    """Logs each finished trial in one line.

    Parameters
    ----------
    study
        The study.
    metric
        Metric of the trials.
    total
        Planned number of trials.
    """

    def __init__(self, study: "Study", metric: str, total: int) -> None:
        self._study = study
        self._metric = metric
        self._total = total

    def __call__(self, trial: "FrozenTrial", done: int, seconds: float | None) -> None:
        """Log a trial."""
        words = [f"[{done}/{self._total}]", f"trial {trial.number}:", *trial.user_attrs.get("overrides", [])]
        if trial.state.name == "FAIL":
            words.append(f"failed: {trial.user_attrs['error'].splitlines()[0]}")
        else:
            early = f" at step {trial.last_step}, ended early" if trial.state.name == "PRUNED" else ""
            words.append(f" {self._metric} {_number(trial.value)}{early}")
        best = _best(self._study)
        words.append(f" best {best.value:.4f} (trial {best.number})" if best else " no value yet")
        if seconds:
            words.append(f" {duration(seconds)} left")
        log.info("%s", " ".join(words))


def show(study: "Study", metric: str, total: int) -> "FrozenTrial":
    """Show the best trials and the failed ones; return the best, or end the program if there is none."""
    trials = study.get_trials(deepcopy=False)
    counts = Counter(trial.state.name for trial in trials)
    ended = ", ".join(
        f"{counts[state]} {word}"
        for state, word in (("COMPLETE", "completed"), ("PRUNED", "ended early"), ("FAIL", "failed"))
        if counts[state]
    )
    for message, count in Counter(t.user_attrs.get("error", "") for t in trials if t.state.name == "FAIL").items():
        log.info("failed (%d): %s", count, message.splitlines()[0] if message else "")
    best = _best(study)
    if best is None:
        raise FailedError(f"no trial of {study.study_name} was completed ({ended or 'none'})")
    completed = [trial for trial in trials if trial.state.name == "COMPLETE" and trial.value is not None]
    ranked = sorted(completed, key=lambda trial: trial.value or 0.0, reverse=study.direction.name == "MAXIMIZE")
    keys = list(dict.fromkeys(key for trial in trials for key in trial.params))
    rows = [
        {"trial": trial.number, **{key: _number(trial.params.get(key, "")) for key in keys}, "run": _run(trial)}
        | {f"dev {metric}": trial.value}
        for trial in ranked[:_SHOWN]
    ]
    title = f"{study.study_name}: the best of {sum(counts.values())} trials ({ended}) of {total}"
    show_rows(rows, ["trial", *keys, "run"], title, bold=study.direction.name == "MAXIMIZE")
    _show_importance(study, len(ranked))
    return best


def _show_importance(study: "Study", completed: int) -> None:
    """Show which parameters mattered, if fANOVA is available: it needs scikit-learn."""
    import importlib.util

    if completed < _ENOUGH or importlib.util.find_spec("sklearn") is None:
        return
    import optuna

    try:
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    except (ValueError, RuntimeError):
        return  # all values are equal, or no parameter is in all trials
    if len(found) > 1:
        rows = [{"parameter": key, "importance": share} for key, share in found.items()]
        show_rows(rows, ["parameter"], "share of the variance of the values (fANOVA)", bold=False)


def _best(study: "Study") -> "FrozenTrial | None":
    try:
        return study.best_trial
    except ValueError:
        return None


def _run(trial: "FrozenTrial") -> str:
    return trial.user_attrs["run"].rpartition("/")[2]


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
