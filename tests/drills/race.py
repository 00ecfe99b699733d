"""Race drills: a command started several times at the same moment on a cold cache, some of it killed, and compared.

    python tests/drills/race.py [--starts N] [--seed S] [--commands train,score,…] [--folder F] [--json FILE]

Each race has a folder of its own. It holds what the command needs (the finished sweep for ``table``, the index for
``search``), and no cache. There 2, 4 or 8 processes begin the command at the same moment. Some are killed by ``kill
-9`` at a point drawn uniformly from the processor time that the command takes undisturbed. All others must end by
themselves, with status 0 or with what the command says when everything is there; then the command is given once more.
What the folder holds at last must be what a folder holds in which the command ran alone: see compare.py. The exit
status is 0 if it is.
"""

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from commands import PUBLIC, RACED, Command, cut_small, write_public
from compare import compare
from processes import kill, preload, run, worked

sys.path.insert(0, str(Path(__file__).parents[1]))
from forked import become

TOGETHER = (2, 4, 8)
_WAITING = re.compile(r"^waiting for .* \(held by (process \d+ on host \S+|another process)\)$", re.MULTILINE)
_DAMAGE = re.compile(r"^.*(?:is damaged|Traceback|cannot be read|Error: ).*$", re.MULTILINE)
_PATIENCE = 600.0
"""Seconds after which a race that has not ended has failed."""


class Ended(NamedTuple):
    """How a process ended."""

    status: int | None
    """None of a killed one."""
    log: str


@dataclass
class Race:
    """One race and what was found."""

    command: str
    together: int
    killed: int = 0
    waited: int = 0
    """Processes that said that they wait."""
    lines: int = 0
    """Lines in which they said so."""
    faults: list[str] = field(default_factory=list)
    """Processes that failed, and what is damaged."""
    left: int = 0
    """What killed processes have left, which counts for nothing."""
    compared: Counter[str] = field(default_factory=Counter)


class Drill:
    """Races in a folder.

    Parameters
    ----------
    folder
        Empty; holds afterwards what commands need, what each leaves alone, and the races that went wrong.
    seed
        Of all that is random.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seconds: dict[str, float] = {}
        self._draw = random.Random(seed)

    def alone(self, name: str) -> None:
        """Run a command alone on a cold cache, after what it needs."""
        place = self.folder / f"{name}.alone"
        shutil.copytree(self._needed(name), place)
        self.seconds[name] = self._complete(RACED[name], place)
        self._complete(RACED[name], place)  # as after each race

    def _needed(self, name: str) -> Path:
        """Return a folder with what a command needs, and an empty cache."""
        folder = self.folder / ".".join(["needs", *_needs(name)])
        if not folder.exists():
            (folder / "cache").mkdir(parents=True)
            for each in _needs(name):
                self._complete(RACED[each], folder)
            shutil.rmtree(folder / "cache")
            (folder / "cache").mkdir()
        return folder

    def race(self, number: int, name: str, together: int, killed: int) -> Race:
        """Start a command several times at once; compare what it leaves."""
        place = self.folder / f"race_{number}"
        shutil.copytree(self._needed(name), place)
        found = Race(name, together)
        for ended in self._together(name, place, together, killed):
            if ended.status is None:
                found.killed += 1
            elif not _is_right(RACED[name], ended.status, ended.log):
                found.faults.append(f"status {ended.status}: {ended.log[-1500:]}")
            found.faults += [line for line in _DAMAGE.findall(ended.log) if not _is_refusal(RACED[name], line)]
            lines = len(_WAITING.findall(ended.log))
            found.waited += lines > 0
            found.lines += lines
        try:
            self._complete(RACED[name], place)
        except RuntimeError as error:
            found.faults.append(f"whoever comes after: {error}")
        verdict = compare(self.folder / f"{name}.alone", place)
        found.faults += [*verdict.lost, *verdict.doubled, *verdict.different, *verdict.held]
        found.compared, found.left = verdict.compared, len(verdict.left)
        if not found.faults:
            shutil.rmtree(place)
        return found

    def _together(self, name: str, place: Path, together: int, killed: int) -> list[Ended]:
        words, seconds = RACED[name].within(place), self.seconds[name]
        ready, go = os.pipe()
        logs = [place.with_name(f"{place.name}.{number}.log") for number in range(together)]
        children: dict[int, Path] = {}
        for log in logs:
            child = os.fork()
            if not child:
                os.close(go)
                become(words, place, log, lambda: os.read(ready, 1))  # returns when the parent closes its end
            children[child] = log
        # A process that waits does not work: by the clock it is killed, too.
        points = {
            child: (self._draw.uniform(0, seconds), time.monotonic() + self._draw.uniform(0, 2 * seconds * together))
            for child in self._draw.sample(sorted(children), killed)
        }
        os.close(ready)
        os.close(go)
        return self._ended(children, points)

    def _ended(self, children: dict[int, Path], points: dict[int, tuple[float, float]]) -> list[Ended]:
        found, left, deadline = [], set(children), time.monotonic() + _PATIENCE
        while left:
            for child in sorted(left):
                ended, status = os.waitpid(child, os.WNOHANG)
                late = time.monotonic() > deadline
                if not ended and (late or (child in points and _is_due(child, *points[child]))):
                    kill(child)
                    ended, status = os.waitpid(child, 0)
                if not ended:
                    continue
                kill(child)  # what it may have left running
                left.remove(child)
                text = children[child].read_text(encoding="utf-8") if children[child].exists() else ""
                told = None if os.WIFSIGNALED(status) and not late else os.waitstatus_to_exitcode(status)
                found.append(Ended(told, text))
            time.sleep(0.01)
        return found

    def _complete(self, command: Command, place: Path) -> float:
        log = place.with_name(f"{place.name}.log")
        before = len(log.read_text(encoding="utf-8")) if log.exists() else 0
        status, seconds = run(command.within(place), place, log)
        text = log.read_text(encoding="utf-8")[before:]
        if not _is_right(command, status, text):
            raise RuntimeError(f"status {status}: {text[-1500:]}")
        return seconds


def _needs(name: str) -> list[str]:
    """Return what a command needs, first things first."""
    return [each for need in RACED[name].needs for each in (*_needs(need), need)]


def _is_due(child: int, work: float, clock: float) -> bool:
    return worked(child) >= work or time.monotonic() >= clock


def _is_right(command: Command, status: int | None, log: str) -> bool:
    return status == 0 or bool(command.refuses and command.refuses in log)


def _is_refusal(command: Command, line: str) -> bool:
    return bool(command.refuses) and command.refuses in line


def drill(folder: Path, names: list[str], *, starts: int, seed: int, queries: int = 650) -> dict[str, Any]:
    """Run races until ``starts`` processes have been started on cold caches; returns the record."""
    begin = time.time()
    write_public(folder / PUBLIC, queries)
    preload()
    cut_small()
    this = Drill(folder, seed)
    draw = random.Random(seed)
    for name in names:
        this.alone(name)
        print(f"{name} alone: {this.seconds[name]:.1f} processor seconds", flush=True)
    races: list[Race] = []
    while sum(race.together for race in races) < starts:
        # Every command with every number before any comes again.
        turn = [(name, together) for together in TOGETHER for name in names if together <= RACED[name].together]
        name, together = turn[len(races) % len(turn)]
        races.append(this.race(len(races), name, together, draw.randrange(together)))
        print(_said(len(races), races[-1]), flush=True)
    return {"date": time.strftime("%Y-%m-%d"), "seed": seed, **_summed(races), "seconds": round(time.time() - begin)}


def _said(number: int, race: Race) -> str:
    text = f"race {number}: {race.command} x {race.together}, {race.killed} killed, {race.waited} waited"
    return "\n  ".join([f"{text}, {sum(race.compared.values())} files compared", *race.faults[:8]])


def _summed(races: list[Race]) -> dict[str, Any]:
    numbers = ("together", "killed", "waited", "lines", "left")
    totals = {key: sum(getattr(race, key) for race in races) for key in numbers}
    commands = {
        name: {"races": len(of), **{key: sum(getattr(race, key) for race in of) for key in numbers}}
        for name in dict.fromkeys(race.command for race in races)
        if (of := [race for race in races if race.command == name])
    }
    return {
        "races": len(races),
        "cold_starts": totals.pop("together"),
        **totals,
        "files_compared": sum(sum(race.compared.values()) for race in races),
        "compared": dict(sum((race.compared for race in races), Counter())),
        "damaged": [f"{race.command} x {race.together}: {fault}" for race in races for fault in race.faults],
        "commands": commands,
    }


def table(record: dict[str, Any]) -> str:
    """Return the races as a table in Markdown."""
    lines = ["| command | races | cold starts | killed | waited |", "|---|---:|---:|---:|---:|"]
    rows = {**record["commands"], "all": {**record, "together": record["cold_starts"]}}
    for name, row in rows.items():
        lines.append(f"| {name} | {row['races']} | {row['together']} | {row['killed']} | {row['waited']} |")
    return "\n".join(lines)


def main() -> None:
    """Run the drill that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=200, help="processes to start on a cold cache, at least")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default=",".join(RACED), help=f"of {', '.join(RACED)}")
    parser.add_argument("--queries", type=int, default=650, help="queries of the file that import reads")
    parser.add_argument(
        "--folder", type=Path, help="kept afterwards; otherwise a temporary one, kept if something is wrong"
    )
    parser.add_argument("--json", type=Path, help="where the record is written")
    given = parser.parse_args()
    if "PYTHONHASHSEED" not in os.environ:  # bm25s numbers words in the order of a set, in each process another one
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | {"PYTHONHASHSEED": "0"})
    names = given.commands.split(",")
    if unknown := sorted(set(names) - set(RACED)):
        parser.error(f"unknown commands: {', '.join(unknown)}")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="limbeck-race-"))
    folder.mkdir(parents=True, exist_ok=True)
    record = drill(folder.resolve(), names, starts=given.starts, seed=given.seed, queries=given.queries)
    if given.json:
        given.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(table(record))
    print(json.dumps({key: value for key, value in record.items() if key != "commands"}, indent=2))
    if not record["damaged"] and not given.folder:
        with suppress(OSError):
            shutil.rmtree(folder)
    sys.exit(1 if record["damaged"] else 0)


if __name__ == "__main__":
    main()
