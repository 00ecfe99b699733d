"""Tab completion: what may follow a line, and that real shells take it."""

import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from limbeck.manual.completion import candidates
from limbeck.manual.shells import SHELLS


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("limbeck tr", ["train"]),
        ("limbeck train lo", ["logger=", "loss.", "loss="]),
        ("limbeck train trainer.c", [f"trainer.{each}=" for each in ("checkpoint_every", "chunk", "clip", "compile")]),
        ("limbeck train loss=cl", ["loss=cl_drd"]),
        ("limbeck train loss=[kl,ck", ["loss=[kl,ckl"]),
        ("limbeck train -m loss=kl,ckl,k", ["loss=kl,ckl,kl_in_batch", "loss=kl,ckl,kl_ll"]),
        ("limbeck train loss=[kl,info_nce] loss.", ["loss.info_nce.", "loss.kl."]),
        ("limbeck train student=splade student.query_e", ["student.query_encoder="]),
        (
            "limbeck train 'loss=[kl,ckl]' student.pooling=",
            ["student.pooling=mean", "student.pooling=cls", "student.pooling=last"],
        ),
        ("limbeck train trainer.compile=t", ["trainer.compile=true"]),
        ("limbeck train eval/f", ["eval/fusion="]),
        ("limbeck train paths.data=", []),
        ("limbeck train --d", ["--debug", "--dry-run"]),
        ("limbeck mine --d", ["--debug"]),
        ("limbeck mine --cfg ", ["job", "hydra", "all"]),
        ("limbeck help loss.ck", ["loss.ckl", "loss.ckl."]),
        ("limbeck help loss=ck", ["loss=ckl"]),
        ("limbeck completion z", ["zsh"]),
        ("limbeck new ", ["loss"]),
        ("limbeck nope ", []),
    ],
)  # fmt: skip
def test_what_may_follow(line, expected):
    assert candidates(line) == expected


def test_an_open_quote_is_no_error():
    assert candidates("limbeck train 'loss=[kl,ck") == ["loss=[kl,ckl"]


def test_the_script_is_printed_also_by_the_word_that_hydra_names(limbeck):
    status, out, err = limbeck("completion", "bash", small=False)
    assert (status, out, err) == (0, SHELLS["bash"], "")
    assert limbeck("train", "-sc", "install=bash", small=False) == (0, out, "")
    status, _, err = limbeck("completion", "csh", small=False)
    assert (status, err) == (2, "limbeck: limbeck completion takes the name of a shell: bash, zsh, fish\n")


START = {
    "bash": ["--norc", "--noprofile", "-i"],
    "zsh": ["-f", "-i"],
    "fish": ["--no-config", "--interactive"],
}
PREPARE = {"zsh": "autoload -U compinit; compinit -u -D; bindkey -e; ", "bash": "", "fish": ""}
LOAD = {shell: f'eval "$(limbeck completion {shell})"' for shell in ("bash", "zsh")} | {
    "fish": "limbeck completion fish | source"
}
TYPED = {  # a TAB and an x behind the first give the second
    "limbeck tra": "<limbeck><train><x>",
    "limbeck train loss=cl": "<limbeck><train><loss=cl_drd><x>",
    "limbeck train 'loss=[kl,ck": "<limbeck><train><loss=[kl,ckl><x>",
    "limbeck train trainer.prec": "<limbeck><train><trainer.precision=x>",
    "limbeck train paths.data=some": "<limbeck><train><paths.data=somewhere/x>",
}


@pytest.mark.parametrize("shell", SHELLS)
def test_in_a_real_shell(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "somewhere").mkdir()
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "TERM": "dumb", "HOME": str(tmp_path), "PS1": "$ "}
    terminal = [sys.executable, "-c", "import pty, sys; pty.spawn(sys.argv[1:])"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    program = subprocess.Popen([*terminal, shell, *START[shell]], cwd=tmp_path, env=environment, **pipes)
    try:
        _typed(program, f"{PREPARE[shell]}{LOAD[shell]}; echo rea''dy\n", "ready")
        for line, expected in TYPED.items():
            # Ctrl-A goes to the start of the line: its words are printed, each in brackets.
            _typed(program, f"{line}\tx\x01printf '<%s>' \n", expected)
    finally:
        program.kill()  # its end of the terminal closes, so the shell ends
        program.communicate()


def _typed(program, keys, expected):
    os.write(program.stdin.fileno(), keys.encode())
    seen, end = "", time.monotonic() + 60
    while expected not in seen:
        assert time.monotonic() < end, seen
        if select.select([program.stdout], [], [], 1)[0]:
            seen += os.read(program.stdout.fileno(), 4096).decode(errors="replace")
