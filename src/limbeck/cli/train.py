"""``limbeck train``: one run. Those of a sweep are started by :mod:`limbeck.experiment.sweep`."""

from typing import TYPE_CHECKING

from limbeck.cli.typed import Typed
from limbeck.experiment.run_folder import console, main_process
from limbeck.experiment.train import plan, train

if TYPE_CHECKING:
    from omegaconf import DictConfig


def run(config: "DictConfig", typed: Typed) -> None:
    """Train and evaluate, or show the run if it is finished."""
    console(main=main_process(config))
    plain, folder = plan(config, typed.overrides)
    if plain["dry_run"]:
        print(f"{folder.path}: {folder.state()}")
        return
    result = train(plain, folder, typed.overrides)
    if result is None:
        return  # a child of a launcher; the first process has the result
    from limbeck.reporting.results.finished import check_whole
    from limbeck.reporting.terminal import show_result

    show_result(result)
    check_whole(result.get("sets") or {})


def finish() -> None:
    """End a sweep, if it was one."""
    from limbeck.experiment.sweep import finish

    finish()
