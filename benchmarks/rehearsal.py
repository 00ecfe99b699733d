"""A rehearsal of the reproduction: every command of ``docs/reproduction``, on a collection shaped like MS MARCO.

    python benchmarks/rehearsal.py --passages 20000                              every command, in order
    python benchmarks/rehearsal.py --passages 20000 --only "index SPLADE" lists  only these
    python benchmarks/rehearsal.py --passages 20000 --show                       the table of what was run

Each command is a process of its own. What it took is written to ``FOLDER/records``, and a step that has its record is
skipped: the same call goes on where it was. Students are of one layer; whatever else is smaller than the pages ask for
stands in the row. The last columns say what is to be expected at the size of MS MARCO, by the rule in the row.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import measured
import msmarco_files as files
import msmarco_like as like
import numpy as np
from rehearsal_projection import along_a_line, in_proportion, projected, worked
from rehearsal_steps import RULES, STEPS, Sizes, Step

from limbeck.processes import end_with_parent, naming_this

ROOT = Path(__file__).parents[1]
KEPT = ("home", "cache", "ckl2024", "runs", "outputs", "bm25")
"""Folders whose growth is a step's: the stores of ir_datasets, ours, and results."""
START = "start-up"
IMPORTED = "lightning.pytorch, transformers, ir_datasets, limbeck.experiment.distil"
"""What every command imports."""
LEAST = 100_000
"""Passages from which on anything is projected: with fewer, start-up and loading are most of what is measured."""
WORLD = "write the collection"
HOME = {"HF_HUB_OFFLINE": "1", "IR_DATASETS_DL_DISABLE_PBAR": "true"}


def words_of(step: Step, command: str, sizes: Sizes, folder: Path) -> list[str]:
    """Return a command as it is given: with what the rehearsal adds, and the name of the run for ``ID``."""
    words = shlex.split(command)
    for more in step.more:
        more = more.format_map(asdict(sizes))
        key = more.partition("=")[0] + "="
        same = [place for place, word in enumerate(words) if word.startswith(key)]
        words[same[0] if same else len(words) :] = [more, *(words[same[0] + 1 :] if same else [])]
    for place, word in enumerate(words):
        if word.endswith("/ID"):
            runs = folder / word.partition("=")[2].removesuffix("/ID")
            (run,) = (path for path in runs.iterdir() if (path / "result.json").exists())
            words[place] = word.removesuffix("ID") + run.name
    out = next((word.partition("=")[2] for word in words if word.startswith("out=")), None)
    if words[1:2] == ["search"] and (folder / str(out)).exists():  # of a rehearsal that was killed right behind it
        words.append("force=true")
    return words


def give(step: Step, sizes: Sizes, folder: Path) -> dict[str, Any]:
    """Give the command of a step, or those that it stands for; returns its record."""
    environment = {**HOME, **naming_this(), "IR_DATASETS_HOME": str(folder / "home")}
    log = folder / "logs" / f"{slug(step.name)}.log"
    log.unlink(missing_ok=True)
    disks = [folder / name for name in KEPT]
    found: list[measured.Measured] = []
    asked: list[str] = []
    for command in step.given or (step.command,):
        words = words_of(step, command, sizes, folder)
        asked.append(shlex.join(words))
        whole = measured.limbeck(words[1:]) if words[0] == "limbeck" else words
        found.append(measured.measure(whole, folder, log, environment, disks))
        if found[-1].status:
            tail = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-15:])
            sys.exit(f"{tail}\n{step.name}: {shlex.join(words)} ended with status {found[-1].status}")
    if step.then == "complete":
        complete(folder, sizes)
    return {
        "command": asked[0],
        "commands": len(found),
        "wall": sum(each.wall for each in found),
        "cpu": sum(each.cpu for each in found),
        "resident": max(each.memory.resident for each in found),
        "own": max(each.memory.own for each in found),
        "disk": sum(each.disk for each in found),
        "disk_peak": max(each.disk_peak for each in found),
    }


def complete(folder: Path, sizes: Sizes) -> None:
    """Add the training queries that were not searched for to the run of SPLADE, each with 20 passages of its topic.

    What comes next takes any run: so it works on as many queries as there are.
    """
    world = world_of(sizes)
    path, train = folder / "ckl2024" / "splade.trec", like.splits(world)[0]
    rng = np.random.default_rng([world.seed, 8])
    with path.open(encoding="utf-8") as file:
        searched = {line.split()[0] for line in file}
    with path.open("a", encoding="utf-8") as file:
        for query, positive in zip(train.ids.tolist(), train.positives.tolist(), strict=True):
            if str(query) not in searched:
                passages = [positive, *world.same_topic(rng, positive, 19).tolist()]
                more = rng.integers(0, world.passages, 40).tolist()
                passages = list(dict.fromkeys([*passages, *more]))[:20]
                lines = (f"{query} Q0 {each} {rank} {21 - rank} made\n" for rank, each in enumerate(passages, 1))
                file.writelines(lines)


def write_world(folder: Path, sizes: Sizes, part: float) -> dict[str, Any]:
    """Write everything that the commands read."""
    world = world_of(sizes)
    counted = files.write(folder / "home", world, sizes.searched)
    pairs = files.write_scores(folder / "ckl2024" / "public" / "pair", world)
    beir = files.write_beir(folder / "home", world.seed, part)
    files.write_checkpoints(folder, world)
    return {**counted, "scored pairs": pairs, "documents of BEIR": beir}


def world_of(sizes: Sizes) -> like.World:
    return like.World(sizes.passages, sizes.queries, sizes.seed)


def prepare(folder: Path, asked: argparse.Namespace) -> Sizes:
    """Return the sizes of the rehearsal in a folder; the collection is written if it is not there."""
    queries = asked.queries or max(50, round(asked.passages * like.QUERIES / like.PASSAGES))
    searched = min(asked.searched or queries, queries)
    sizes = Sizes(asked.passages, queries, searched, 0, 0, 0, asked.updates, asked.seed)
    path = folder / "records" / f"{slug(WORLD)}.json"
    if not path.exists():
        for place in (*KEPT, *(name.partition("/")[0] for name in like.CHECKPOINTS)):
            shutil.rmtree(folder / place, ignore_errors=True)
        for place in ("records", "logs"):
            (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / "ckl2024" / "first_stage").mkdir(parents=True)
        (folder / "cache").mkdir()
        made = asdict(sizes)
        counted = write_world(folder, sizes, asked.passages / like.PASSAGES * asked.beir)
        made |= {"dev": counted["dev queries"], "pairs": counted["scored pairs"], "beir": counted["documents of BEIR"]}
        save(path, {"sizes": made, "counted": counted})
    known = json.loads(path.read_text(encoding="utf-8"))["sizes"]
    differing = [name for name in ("passages", "queries", "searched", "seed") if known[name] != getattr(sizes, name)]
    if differing:
        sys.exit(f"{folder} has a collection of other sizes ({', '.join(differing)}); give another --folder")
    return Sizes(**known)


def save(path: Path, record: dict[str, Any]) -> None:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, cwd=ROOT).stdout
    record |= {"commit": commit.strip(), "ended": datetime.now(UTC).isoformat(timespec="seconds")}
    unfinished = path.with_suffix(".part")
    unfinished.write_text(json.dumps(record, indent=1), encoding="utf-8")
    unfinished.replace(path)


def slug(name: str) -> str:
    return name.lower().replace(", ", "_").replace(" ", "_")


def start_up(folder: Path) -> dict[str, Any]:
    """Measure what every command takes before it does anything: importing torch, Lightning and transformers."""
    found = measured.measure(
        [sys.executable, "-c", f"import {IMPORTED}"], folder, folder / "logs" / "start.log", naming_this(), []
    )
    return {"wall": found.wall, "cpu": found.cpu, "resident": found.memory.resident, "own": found.memory.own}


class Rehearsed:
    """What a folder has of a rehearsal."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.sizes = Sizes(**self._record(WORLD)["sizes"])
        self.start: float = self._record(START)["cpu"]

    def of(self, step: Step) -> tuple[dict[str, Any], dict[str, float]] | None:
        """Return the record of a step and its work; None if it was not run."""
        if not (self._folder / "records" / f"{slug(step.name)}.json").exists():
            return None
        record = self._record(step.name)
        log = (self._folder / "logs" / f"{slug(step.name)}.log").read_text(encoding="utf-8")
        return record, worked(record, step, log)

    def _record(self, name: str) -> dict[str, Any]:
        return json.loads((self._folder / "records" / f"{slug(name)}.json").read_text(encoding="utf-8"))


def rows_of(rehearsed: Rehearsed, smaller: Rehearsed | None) -> list[dict[str, Any]]:
    """Return a row for each step: its record with the projection, or why there is none."""
    rows = []
    for step in STEPS:
        row: dict[str, Any] = {
            "step": step.name,
            "page's command": step.command if step.of_page else "",
            "cut": step.cut,
        }
        found, beside = rehearsed.of(step), smaller.of(step) if smaller is not None else None
        if found is None:
            row["not run"] = step.why_not or "not asked for"
        else:
            record, work = found
            if beside is not None and smaller is not None:
                full = along_a_line(work, rehearsed.sizes, beside[1], smaller.sizes)
            else:
                full = in_proportion(work, rehearsed.sizes, rehearsed.start * record["commands"])
            row |= {**record, "full size": projected(record, step, rehearsed.sizes, full)}
        rows.append(row)
    return rows


def show(rows: Sequence[dict[str, Any]], sizes: Sizes) -> str:
    """Return the rows as Markdown."""
    lines = [
        f"{sizes.passages:,} passages, {sizes.queries:,} training queries of which {sizes.searched:,} are searched "
        f"for, {sizes.dev:,} of dev, {sizes.pairs:,} pairs with teacher scores, {sizes.beir:,} documents of BEIR.",
        "",
        "| step | wall, s | CPU, s | peak RSS, MB | own, MB | disk, MB | grows, mostly "
        "| full size: CPU, h | disk, GB | cut |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|---|",
    ]
    for row in rows:
        if "not run" in row:
            lines.append(f"| {row['step']} | | | | | | | | | not run: {row['not run']} |")
            continue
        full = row["full size"]
        expected = f"{full['cpu hours']:,.2f} | {full['disk GB']:,.1f}" if sizes.passages >= LEAST else " | "
        lines.append(
            f"| {row['step']} | {row['wall']:,.0f} | {row['cpu']:,.0f} | {row['resident']:,.0f} | {row['own']:,.0f} "
            f"| {row['disk']:,.0f} | {RULES[full['mostly']]} | {expected} "
            f"| {row['cut']} |"
        )
    return "\n".join(lines)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=20_000)
    parser.add_argument("--queries", type=int, help="judged training queries; in proportion if not given")
    parser.add_argument("--searched", type=int, help="how many of them are searched for; all if not given")
    parser.add_argument("--beir", type=float, default=0.05, help="BEIR's size over that in proportion to the passages")
    parser.add_argument("--updates", type=int, default=5, help="of each training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, default=Path("cache/rehearsal"))
    parser.add_argument("--only", nargs="+", metavar="STEP", choices=[step.name for step in STEPS])
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="a smaller rehearsal, for the projection")
    parser.add_argument("--show", action="store_true", help="print the table and run nothing")
    return parser.parse_args()


def main() -> None:
    end_with_parent()
    asked = arguments()
    folder = asked.folder.absolute()
    sizes = prepare(folder, asked)
    records = folder / "records"
    if not (records / f"{slug(START)}.json").exists():
        save(records / f"{slug(START)}.json", start_up(folder))
    for step in STEPS if not asked.show else ():
        path = records / f"{slug(step.name)}.json"
        if path.exists() or step.why_not or (asked.only and step.name not in asked.only):
            continue
        print(f"{datetime.now(UTC):%H:%M:%S} {step.name}", file=sys.stderr, flush=True)
        save(path, give(step, sizes, folder))
    rows = rows_of(Rehearsed(folder), Rehearsed(asked.beside.absolute()) if asked.beside else None)
    (folder / "rehearsal.json").write_text(
        json.dumps({"sizes": asdict(sizes), "rows": rows}, indent=1), encoding="utf-8"
    )
    print(show(rows, sizes))


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    main()
