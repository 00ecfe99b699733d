"""Runs the benchmarks of the CPU one after the other and writes what they print to ``benchmarks/results.md``.

    python benchmarks/results.py                  all of them: under 30 minutes on 2 cores
    python benchmarks/results.py train encode     only these; the others' sections stay as they are

Each benchmark is a script that prints Markdown on standard output, and what it does meanwhile on standard error. A
section tells its command, when it was made, and on what: so that sections of different days can stand side by side. A
benchmark that fails leaves its last section as it is.
"""

import argparse
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import environments

from limbeck.processes import naming_this

ROOT = Path(__file__).parents[1]
OUT = Path(__file__).with_name("results.md")
SECTIONS = {
    "train": ("Training beside the peers", []),
    "profile": ("Where the time of a training step goes", ["--profile", "--settings", "dl", "--steps", "4"]),
    "static": ("Static students beside transformers", []),
    "encode": ("Encoding beside sentence-transformers", []),
    "score": ("Scoring pairs beside sentence-transformers", []),
    "llm": ("Pairs judged by a language model", []),
    "scale": ("Cost against size", []),
    "search": ("Index and search", ["--documents", "20000"]),
    "pairs": ("Sparse search and re-ranking of many queries", []),
    "full_size": ("Steps of full size", []),
    "memory": ("Memory by the number of queries", ["--memory"]),
    "store": ("Score store", []),
    "losses": ("Cost of each loss", []),
    "evaluate": ("Evaluation", []),
    "sweep": ("A job of a sweep", []),
    "startup": ("Start-up", []),
}
"""Name → title, and words for the script of that name."""
SCRIPTS = {"profile": "train", "memory": "full_size"}
PACKAGES = ("torch", "lightning", "transformers", "tokenizers", "numpy", "pyarrow")
HEAD = """\
# Results of the benchmarks

Written by `make bench` (`benchmarks/results.py`); what each measures and how stands at the top of its script. Ratios
count, not rates: they were measured in turn in one run, the rates depend on the machine.
"""


def machine() -> str:
    """Return the processor, the cores that may be used, and the memory."""
    name, memory = platform.processor() or platform.machine(), ""
    try:
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
        name = found[1] if found else name
        kilobytes = re.search(r"^MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text(encoding="utf-8"), re.MULTILINE)
        memory = f", {int(kilobytes[1]) / 1e6:.0f} GB" if kilobytes else ""
    except OSError:
        pass
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores{memory}"


def versions() -> str:
    """Return Python, the commit, and the packages that matter."""
    git = ["git", "-C", str(ROOT)]
    commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    changed = subprocess.run(
        [*git, "diff", "--quiet", "HEAD", "--", "src"], capture_output=True, check=False
    ).returncode
    where = f"commit {commit.stdout.strip()}{' with changes' if changed else ''}, " if commit.returncode == 0 else ""
    packages = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    return f"{where}Python {platform.python_version()}, {packages}"


def section(name: str) -> tuple[str, bool]:
    """Run a benchmark; return its section, and whether it ended well."""
    title, words = SECTIONS[name]
    script = f"benchmarks/{SCRIPTS.get(name, name)}.py"
    print(f"== {title}: {script} {' '.join(words)}", file=sys.stderr, flush=True)
    start, when = time.perf_counter(), datetime.now(UTC)
    started = [sys.executable, script, *words]
    done = subprocess.run(
        started, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False, env=os.environ | naming_this()
    )
    minutes = (time.perf_counter() - start) / 60
    peers = "".join(f"; {environments.PEERS[peer]}: {environments.versions(peer)}" for peer in _peers(name))
    command = " ".join(["python", script, *words])
    source = f"`{command}`, {minutes:.1f} minutes, {when:%Y-%m-%d}. {machine()}; {versions()}{peers}."
    good = done.returncode == 0
    body = done.stdout.strip() if good else f"It failed with exit status {done.returncode}."
    return f"## {title}\n<!-- {name} -->\n\n{body}\n\n{source}\n", good


def _peers(name: str) -> list[str]:
    """Return the peers that a benchmark measures."""
    return [peer for peer in environments.PEERS if (environments.HERE / f"{name}_{peer}.py").is_file()]


def kept() -> dict[str, str]:
    """Return the sections that are written, by name."""
    if not OUT.is_file():
        return {}
    parts = re.split(r"^(?=## .*\n<!-- \w+ -->$)", OUT.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = [re.search(r"<!-- (\w+) -->", part) for part in parts]
    return {name[1]: part.strip() + "\n" for name, part in zip(names, parts, strict=True) if name}


def main() -> None:
    """Run, and write after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(SECTIONS))
    asked = parser.parse_args()
    unknown = set(asked.names) - SECTIONS.keys()
    if unknown:
        parser.error(f"no benchmark is called {', '.join(sorted(unknown))}; there are: {', '.join(SECTIONS)}")
    failed = []
    for name in asked.names or SECTIONS:
        text, good = section(name)
        written = kept() | {name: text} if good else {name: text} | kept()
        OUT.write_text("\n".join([HEAD, *(written[each] for each in SECTIONS if each in written)]), encoding="utf-8")
        if not good:
            failed.append(name)
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
