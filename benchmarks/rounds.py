"""Programs measured in turn, each in a process of its own, on cores that nobody else uses.

Round after round every program does the same job, so that a slow hour of the machine falls on all alike. Each process
tells how busy its cores were with other things while it was timed; where that is more than ``DISTURBED``, the
measurement is void and made again, a few times. Ratios are medians of the ratios within a round.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import environments
import materials

from limbeck.processes import naming_this

DISTURBED = 0.05
"""Share of the time of its cores that others may have had while a process was timed."""
OURS = "ours"
ROOT = Path(__file__).parents[1]
Values = dict[str, Any]


@dataclass
class Measured:
    """The measurements of one job by each program, round by round."""

    job: dict[str, Any]
    rounds: list[dict[str, Values]]
    void: int = 0
    """Measurements that were repeated."""
    kept: int = 0
    """Those that were disturbed each time, and kept."""
    failed: list[str] = field(default_factory=list)
    """Peers that cannot do the job."""

    @property
    def programs(self) -> list[str]:
        """Names of the programs, ours first."""
        return [name for name in self.rounds[0] if name not in self.failed]

    def median(self, program: str, what: str) -> float | None:
        """Return the median over rounds of a program's values; None if it reported none."""
        values = [each[program][what] for each in self.rounds if program in each]
        return statistics.median(values) if values and None not in values else None

    def ratios(self) -> list[float]:
        """Return our rate over that of the faster peer, for each round; empty without a peer."""
        peers = [name for name in self.programs if name != OURS]
        return [each[OURS]["rate"] / max(each[name]["rate"] for name in peers) for each in self.rounds] if peers else []


def measure(job: Mapping[str, Any], commands: Mapping[str, Sequence[str]], asked: argparse.Namespace) -> Measured:
    """Let programs do a job, in turn.

    Parameters
    ----------
    job
        What each process is given.
    commands
        Program → its command, to which the job is added.
    asked
        ``rounds``, how often, and ``tries``, how often a disturbed measurement is repeated in all.
    """
    found = Measured(dict(job), [])
    for _ in range(asked.rounds):
        round_: dict[str, Values] = {}
        for name, command in commands.items():
            if name not in found.failed:
                one = _quiet(found, name, command, asked.tries)
                if one is not None:
                    round_[name] = one
        found.rounds.append(round_)
    return found


def _quiet(found: Measured, name: str, command: Sequence[str], tries: int) -> Values | None:
    """Return a program's values from an undisturbed measurement, or from the last of several disturbed ones."""
    values: Values | None = None
    for attempt in range(tries):
        values = _process(found, name, command)
        if values is None or values["others"] is None or values["others"] <= DISTURBED:
            return values
        if attempt + 1 < tries:
            found.void += 1
    found.kept += 1
    return values


def _process(found: Measured, name: str, command: Sequence[str]) -> Values | None:
    job = found.job
    threads = {key: str(job["threads"]) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")}
    environment = {**os.environ, **naming_this(), **threads, "HF_HUB_OFFLINE": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
    first, *rest = command
    whole = [first, rest[0], json.dumps({**job, "started": time.time()}), *rest[1:]]
    done = subprocess.run(whole, capture_output=True, text=True, check=False, env=environment)
    lines = [line for line in done.stdout.splitlines() if line.startswith('{"rate"')]
    if done.returncode == 0 and lines:
        values = json.loads(lines[-1])
        others = "" if values["others"] is None else f", others {values['others']:.1%}"
        print(f"{_named(job)}, {name}: {values['rate']:.2f}/s{others}", file=sys.stderr, flush=True)
        return values
    if name == OURS:
        raise SystemExit(f"{_named(job)}: {done.stderr}")
    print(f"{_named(job)}: {name} failed and is left out\n{done.stderr[-2000:]}", file=sys.stderr, flush=True)
    found.failed.append(name)
    return None


def _named(job: Mapping[str, Any]) -> str:
    return " ".join(str(job[key]) for key in ("setting", "layers", "student", "loss", "precision") if key in job)


def commands(task: str, peers: Mapping[str, Path]) -> dict[str, list[str]]:
    """Return the commands of a task: ours, and that of each peer that has a script for it."""
    found = {OURS: [sys.executable, str(Path(__file__).parent / "ours.py"), task]}
    scripts = {peer: environments.HERE / f"{task}_{peer}.py" for peer in peers}
    return found | {peer: [str(peers[peer]), str(script)] for peer, script in scripts.items() if script.is_file()}


def parser(about: str, *, rounds: int, warmup: int) -> argparse.ArgumentParser:
    """Return a parser with the options that all of these benchmarks have."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = os.environ.get("LIMBECK_DATA", ROOT.parent / "shared" / "data")
    made.add_argument("--data", type=Path, default=Path(data), help="folder of the collections (LIMBECK_DATA)")
    made.add_argument("--cache", type=Path, default=ROOT / "cache", help="lists, models, environments of the peers")
    made.add_argument("--settings", nargs="+", choices=[*materials.SOURCES, "synthetic"], help="those that are there")
    made.add_argument("--peers", nargs="*", choices=list(environments.PEERS), default=list(environments.PEERS))
    made.add_argument("--rounds", type=int, default=rounds)
    made.add_argument("--tries", type=int, default=3, help="how often a measurement that others disturb is made")
    made.add_argument("--warmup", type=int, default=warmup, help="steps that are not counted")
    made.add_argument("--threads", type=int, default=min(2, _cores()))
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    made.add_argument("--full", action="store_true", help="everything, hours")
    return made


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def job(asked: argparse.Namespace, setting: str, lists: int, model: Path, more: Mapping[str, Any]) -> dict[str, Any]:
    """Return a job: what all of them have, and ``more``."""
    return {
        "setting": setting,
        "loss": "kl",
        "batch": materials.BATCH,
        "warmup": asked.warmup,
        "query_length": materials.QUERY,
        "document_length": materials.DOCUMENT,
        "dimension": 128,
        "flops": 1e-4,
        "threads": asked.threads,
        "device": asked.device,
        "cache": str(asked.cache.resolve()),
        "data": str(materials.lists(setting, asked.data, lists, asked.cache).resolve()),
        "model": str(model.resolve()),
        **more,
    }


def ready(asked: argparse.Namespace) -> tuple[list[str], dict[str, Path]]:
    """Return the settings that are measured, and the interpreters of the peers; say what is left out."""
    settings = asked.settings or materials.settings(asked.data)
    if settings == ["synthetic"]:
        print(f"Texts of the synthetic world: {asked.data} holds none of the collections.\n")
    found = {peer: environments.python(peer, asked.cache) for peer in asked.peers}
    absent = [environments.PEERS[peer] for peer, interpreter in found.items() if interpreter is None]
    if absent:
        print(f"Left out, as no environment could be made: {', '.join(absent)}.\n")
    return settings, {peer: interpreter for peer, interpreter in found.items() if interpreter is not None}


def table(measured: Sequence[Measured], keys: Mapping[str, str], unit: str) -> None:
    """Print one row a job: rates, ratio with the smallest and largest of a round, peak memory, seconds to the first.

    Parameters
    ----------
    measured
        The jobs.
    keys
        Key of a job → the heading of its column.
    unit
        What a rate counts.
    """
    seen = {name for each in measured for name in each.rounds[0]}
    names = [name for name in (OURS, *environments.PEERS) if name in seen]
    titles = {name: environments.PEERS.get(name, "Limbeck") for name in names}
    heads = [*keys.values(), *(f"{title}, {unit}/s" for title in titles.values())]
    heads += ["Limbeck / faster peer (each round)"]
    heads += [f"{title}, peak MB" for title in titles.values()] + [
        f"{title}, s to first step" for title in titles.values()
    ]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(keys) + "---:|" * (len(heads) - len(keys)))
    for each in measured:
        ratios = each.ratios()
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}" if ratios else ""
        cells = [str(each.job[key]) for key in keys]
        cells += [_number(each.median(name, "rate"), ".2f") for name in names]
        cells.append(f"**{statistics.median(ratios):.2f}** ({spread})" if ratios else "")
        cells += [_number(each.median(name, "peak"), ",.0f") for name in names]
        cells += [_number(each.median(name, "first"), ".1f") for name in names]
        print("| " + " | ".join(cells) + " |", flush=True)
    print(f"\n{_voided(measured)}")


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _voided(measured: Sequence[Measured]) -> str:
    void, kept = sum(each.void for each in measured), sum(each.kept for each in measured)
    sentence = f"Medians of {len(measured[0].rounds)} rounds, {measured[0].job['threads']} threads. "
    if measured[0].rounds[0][OURS]["others"] is None:
        return sentence + "Whether others used the cores is not known on this system."
    if not void + kept:
        return sentence + f"No measurement was disturbed (others had at most {DISTURBED:.0%} of the cores)."
    sentence += f"{void} measurements were disturbed (others had more than {DISTURBED:.0%} of the cores) and repeated"
    return sentence + (f"; {kept} stayed disturbed and are in the table: it does not count." if kept else ".")


def same(measured: Sequence[Measured], tolerance: float) -> None:
    """Fail unless all programs report the same counts of a job: that they did the same work."""
    import numpy as np

    for each in measured:
        for name in each.programs[1:]:
            one, other = (np.array(each.rounds[0][program]["sample"]) for program in (OURS, name))
            if not np.allclose(one, other, atol=tolerance):
                raise SystemExit(f"{_named(each.job)}: {name} computes other numbers: {other} instead of {one}")


def keeps(measured: Sequence[Measured], least: Mapping[str, float]) -> list[str]:
    """Return where the median ratio is below the least that its setting must have."""
    rows = [(each, each.ratios()) for each in measured]
    return [
        f"{_named(each.job)}: {statistics.median(ratios):.2f}, at least {least[each.job['setting']]}"
        for each, ratios in rows
        if ratios and statistics.median(ratios) < least.get(each.job["setting"], 0.0)
    ]
