"""Fault drills: ``kill -9`` at random points of every command, then the same commands again, then the comparison.

    python tests/drills/run.py [--kills N] [--seed S] [--commands search,train,…] [--rounds R] [--folder F] [--json F]

Each round is a folder of its own. There every command is started, and killed at a point drawn uniformly from the
processor time that it takes undisturbed; then the same command is given again, and killed again, until its kills are
used up; then it is given until it ends by itself. What the folder holds at last must be what a folder holds in which
nothing was killed: see compare.py. The exit status is 0 if it is.
"""

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

from commands import COMMANDS, GROUPS, PUBLIC, cut_small, with_needs, write_public
from compare import Verdict, compare
from processes import preload, run

KILLS = 5
"""Of each command, if no number is given."""

PHASES = ("first quarter", "second quarter", "third quarter", "last quarter")


class Kill(NamedTuple):
    """One kill."""

    round: int
    command: str
    phase: str
    """Of the processor time that the command takes undisturbed when nothing is done yet."""
    again: bool
    """Whether the command had been killed before."""


class Drill:
    """A drill in a folder.

    Parameters
    ----------
    folder
        Empty; holds afterwards ``reference``, a folder a round, and ``log.txt``.
    names
        Commands to be killed.
    seed
        Of all that is random.
    """

    def __init__(self, folder: Path, names: list[str], seed: int) -> None:
        self.folder = folder
        self.names = names
        self.order = with_needs(names)
        self.kills: list[Kill] = []
        self.missed = 0
        self.seconds: dict[str, float] = {}
        self._draw = random.Random(seed)
        self._log = folder / "log.txt"

    def reference(self) -> None:
        """Run every command undisturbed, and measure it."""
        place = self.folder / "reference"
        place.mkdir()
        for name in self.order:
            self.seconds[name] = self._complete(name, place)

    def round(self, number: int, kills: int) -> Verdict:
        """Run every command, kill it ``kills`` times in all, complete it, and compare."""
        place = self.folder / f"round_{number}"
        place.mkdir()
        shares = Counter(self.names[(number + k) % len(self.names)] for k in range(kills))
        for name in self.order:
            for attempt in range(shares[name]):
                if not self._killed(number, name, place, again=attempt > 0):
                    break
            self._complete(name, place)
        return compare(self.folder / "reference", place)

    def _killed(self, number: int, name: str, place: Path, *, again: bool) -> bool:
        """Start a command and kill it; False if it ended before."""
        for _ in range(3):  # what is done already shortens the next attempt: draw an earlier point
            point = self._draw.uniform(0, self.seconds[name])
            status, seconds = run(COMMANDS[name].within(place), place, self._log, point)
            if status is None:
                phase = PHASES[min(3, int(4 * seconds / self.seconds[name]))]
                self.kills.append(Kill(number, name, phase, again))
                print(f"round {number}: killed {name} after {seconds:.2f} of {self.seconds[name]:.2f} s", flush=True)
                return True
            self._check(name, status)
            self.missed += 1
        return False

    def _complete(self, name: str, place: Path) -> float:
        status, seconds = run(COMMANDS[name].within(place), place, self._log)
        self._check(name, status)
        return seconds

    def _check(self, name: str, status: int | None) -> None:
        refuses = COMMANDS[name].refuses
        if status and not (refuses and refuses in self._log.read_text(encoding="utf-8")[-2000:]):
            tail = self._log.read_text(encoding="utf-8")[-3000:]
            raise RuntimeError(f"{name} ended with status {status}:\n{tail}")


def drill(folder: Path, names: list[str], *, kills: int, rounds: int, seed: int, queries: int = 650) -> dict[str, Any]:
    """Run a drill; returns its record.

    Rounds go on until ``kills`` kills have fallen, since a command that ends before its kill is no kill.
    """
    start = time.time()
    write_public(folder / PUBLIC, queries)
    preload()
    cut_small()
    this = Drill(folder, names, seed)
    this.reference()
    print(f"undisturbed: {sum(this.seconds.values()):.1f} processor seconds", flush=True)
    verdicts: list[Verdict] = []
    for number in range(3 * rounds):
        left = kills - len(this.kills)
        if left <= 0:
            break
        share = -(-left // max(1, rounds - number))
        verdicts.append(this.round(number, share))
        print(_told(number, verdicts[-1]), flush=True)
    return {
        "date": time.strftime("%Y-%m-%d"),
        "seed": seed,
        "kills": len(this.kills),
        "rounds": len(verdicts),
        "ended_before_the_kill": this.missed,
        "kills_after_a_kill": sum(kill.again for kill in this.kills),
        "commands": {
            name: {
                "undisturbed_seconds": round(this.seconds[name], 2),
                "kills": sum(kill.command == name for kill in this.kills),
                **{phase: sum(kill[1:3] == (name, phase) for kill in this.kills) for phase in PHASES},
            }
            for name in names
        },
        "phases": {phase: sum(kill.phase == phase for kill in this.kills) for phase in PHASES},
        "compared": dict(sum((verdict.compared for verdict in verdicts), Counter())),
        **{
            field: [
                f"round {number}: {each}" for number, verdict in enumerate(verdicts) for each in getattr(verdict, field)
            ]
            for field in ("lost", "doubled", "different", "held", "left")
        },
        "clean": all(verdict.clean for verdict in verdicts),
        "seconds": round(time.time() - start),
    }


def _told(number: int, verdict: Verdict) -> str:
    counts = ", ".join(f"{len(getattr(verdict, field))} {field}" for field in ("lost", "doubled", "different", "held"))
    shown = [*verdict.lost[:5], *verdict.doubled[:5], *verdict.different[:5], *verdict.held[:5]]
    return "\n  ".join([f"round {number}: {sum(verdict.compared.values())} files compared: {counts}", *shown])


def table(record: dict[str, Any]) -> str:
    """Return the kills as a table in Markdown."""
    lines = [
        "| command | seconds undisturbed | kills | " + " | ".join(PHASES) + " |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in record["commands"].items():
        lines.append(
            f"| {name} | {row['undisturbed_seconds']} | {row['kills']} | "
            + " | ".join(str(row[p]) for p in PHASES)
            + " |"
        )
    phases = record["phases"]
    lines.append(f"| all | | {record['kills']} | " + " | ".join(str(phases[phase]) for phase in PHASES) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the drill that the arguments describe."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, help=f"in all; {KILLS} for each command if it is left out")
    parser.add_argument("--rounds", type=int, default=2, help="folders that the kills are spread over")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--commands", default=",".join(COMMANDS), help=f"of {', '.join(COMMANDS)}; or groups: {', '.join(GROUPS)}"
    )
    parser.add_argument("--queries", type=int, default=650, help="queries of the file that import reads")
    parser.add_argument(
        "--folder", type=Path, help="kept afterwards; otherwise a temporary one, kept if something is wrong"
    )
    parser.add_argument("--json", type=Path, help="where the record is written")
    given = parser.parse_args()
    names = [name for word in given.commands.split(",") for name in GROUPS.get(word, (word,))]
    if unknown := sorted(set(names) - set(COMMANDS)):
        parser.error(f"unknown commands: {', '.join(unknown)}")
    folder = given.folder or Path(tempfile.mkdtemp(prefix="limbeck-drill-"))
    folder.mkdir(parents=True, exist_ok=True)
    kills = KILLS * len(names) if given.kills is None else given.kills
    record = drill(folder.resolve(), names, kills=kills, rounds=given.rounds, seed=given.seed, queries=given.queries)
    if given.json:
        given.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(table(record))
    print(json.dumps({key: value for key, value in record.items() if key not in ("commands", "phases")}, indent=2))
    if record["clean"] and not given.folder:
        shutil.rmtree(folder)
    sys.exit(0 if record["clean"] else 1)


if __name__ == "__main__":
    main()
