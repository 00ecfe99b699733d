"""Run one command in shards: a launcher starts them, and this process waits and logs their progress."""

import json
import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from limbeck import progress
from limbeck.artefacts import write_json
from limbeck.config import Config, ConfigError, FailedError, Node, build
from limbeck.experiment.messages import explain
from limbeck.experiment.run_folder import console
from limbeck.launchers.base import Job, Outcome

log = logging.getLogger(__name__)

Share = tuple[int, int]
"""(i, n): number i, from 0, of n."""
Work = Callable[[Config, Share], object]
"""Does a share of a verb's work; a module's function, so that other processes can import it."""

_LOOK = 0.5
"""Seconds between looks at the progress of the shards."""


def shards(config: Node) -> int:
    """Return the number of shards of a command; 1 if it is not sharded.

    Raises
    ------
    ConfigError
        The number is invalid, or the command is a shard itself.
    """
    count = config["shards"]
    if count < 1:
        raise ConfigError(f"shards must be >= 1, got {count}")
    if count > 1 and config.get("shard"):
        raise ConfigError(f"shard={config['shard']} is one of several commands, shards={count} one for all: give one")
    return count


def spread(work: Work, config: Config, out: Path, count: int) -> None:
    """Start all shards of a command with a launcher, and wait for them.

    Parameters
    ----------
    work
        Does one shard.
    config
        The configuration of the verb, with ``launcher``.
    out
        The output; the progress of the shards is stored next to it until all have succeeded.
    count
        Number of shards.

    Raises
    ------
    FailedError
        Some shards failed. The others are kept: the same command does the rest.
    """
    launcher = build(config["launcher"], key="launcher")
    folder = out.absolute().with_name(f".{out.name}.shards")
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):  # left by an earlier attempt
        path.unlink()
    jobs = [
        {"config": config, "number": number, "of": count, "folder": str(folder), "quiet": launcher.quiet}
        for number in range(count)
    ]
    failed: dict[int, str] = {}
    with Watch(folder, count) as watch:
        for position, outcome in launcher.run(partial(made, work), jobs, folder):
            if "error" in outcome:
                failed[position] = outcome["error"]
            watch.ended(failed=len(failed))
    console()
    if failed:
        listed = "\n".join(f"  shard {position + 1}: {error}" for position, error in sorted(failed.items()))
        raise FailedError(f"{len(failed)} of {count} shards failed; the same command makes what is missing\n{listed}")
    shutil.rmtree(folder)


def made(work: Work, job: Job) -> Outcome:
    """Do a shard, in any process; a failure is recorded in the outcome."""
    console(job["quiet"])
    state, last = Path(job["folder"]) / f"{job['number'] + 1}.json", 0.0

    def note(label: str, done: float, total: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= _LOOK:
            last = time.monotonic()
            write_json(state, {"label": label, "done": done, "total": total})

    note("beginning", 0, None)
    try:
        with progress.reporting_to(note):
            work(dict(job["config"]), (job["number"], job["of"]))
    except Exception as error:
        return {"error": explain(error) or f"{type(error).__name__}: {error}"}
    finally:
        state.unlink(missing_ok=True)
    return {}


class Watch:
    """Logs the progress of all shards: when one ends, and every minute; a context.

    Parameters
    ----------
    folder
        Folder of the shards' progress files.
    count
        Number of shards.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._count = count
        self._done = self._failed = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)

    def __enter__(self) -> "Watch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def ended(self, *, failed: int) -> None:
        """Count a shard that has ended, and log the progress of the others."""
        self._done, self._failed = self._done + 1, failed
        log.info("%s", self.text())

    def text(self) -> str:
        """Return the progress of all shards in one line."""
        failed = f", {self._failed} failed" if self._failed else ""
        at_work = [f"{number}: {said}" for number, said in self._at_work()]
        listed = "".join(f"; {each}" for each in at_work)
        return f"{self._done} of {self._count} shards have ended{failed}{listed}"

    def _at_work(self) -> Sequence[tuple[int, str]]:
        found = []
        for path in sorted(self._folder.glob("*.json"), key=lambda path: int(path.stem)):
            try:
                state = json.loads(path.read_text(encoding="utf-8"))
            except (OSError, ValueError):  # it has ended in the meantime
                continue
            share = f", {100 * state['done'] / state['total']:.0f} %" if state["total"] else ""
            found.append((int(path.stem), f"{state['label']}{share}"))
        return found

    def _tell(self) -> None:
        while not self._over.wait(progress.EVERY):
            log.info("%s", self.text())
