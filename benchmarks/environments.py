"""Environments of the peers, made when they are first needed: each has its own versions of what we use, too."""

import hashlib
import subprocess
import sys
from pathlib import Path

PEERS = {"lightning_ir": "Lightning IR", "sentence_transformers": "sentence-transformers"}
HERE = Path(__file__).parent / "peers"
"""What runs in them, and ``NAME.txt`` with what is installed."""


def python(peer: str, cache: Path) -> Path | None:
    """Return the interpreter of a peer's environment; None, after a line on standard error, if it cannot be made."""
    folder = cache / "bench-envs" / peer
    wanted = HERE / f"{peer}.txt"
    mark, digest = folder / ".installed", hashlib.sha256(wanted.read_bytes()).hexdigest()
    interpreter = folder / "bin" / "python"
    if mark.is_file() and mark.read_text(encoding="utf-8") == digest:
        return interpreter
    print(f"making the environment of {PEERS[peer]} in {folder}", file=sys.stderr, flush=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(wanted)]
    for command in ([sys.executable, "-m", "venv", str(folder)], pip):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip() or "pip failed").splitlines()[-1]
            print(f"left out: {PEERS[peer]} ({reason})", file=sys.stderr, flush=True)
            return None
    mark.write_text(digest, encoding="utf-8")
    return interpreter


def versions(peer: str) -> str:
    """Return the packages that are pinned for a peer, in one line."""
    lines = (HERE / f"{peer}.txt").read_text(encoding="utf-8").splitlines()
    return ", ".join(line.replace("==", " ") for line in lines if "==" in line)
