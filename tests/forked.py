"""Run the command in processes forked from this one, which save its imports and can be killed."""

import contextlib
import gc
import importlib.util
import os
import random
import runpy
import signal
import socket
import sys
import tempfile
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest

from limbeck.cli.main import main as command

PLACES = (
    "forward",
    "backward",
    "updated",
    "writing",
    "written",
    "set aside",
    "renamed",
    "renewed",
    "validating",
    "validated",
)
"""Places at which a process can be killed; each is a moment of the real training, see ``_arm``."""

LAUNCHERS = {
    None: lambda rank: {"NODE_RANK": "0", "LOCAL_RANK": rank},
    "torchrun": lambda rank: {
        "TORCHELASTIC_RUN_ID": "none", "RANK": rank, "LOCAL_RANK": rank, "GROUP_RANK": "0", "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
    },
    "torchrun, two nodes": lambda node: {
        "TORCHELASTIC_RUN_ID": "none", "RANK": node, "LOCAL_RANK": "0", "GROUP_RANK": node, "WORLD_SIZE": "2",
    },
    "srun": lambda rank: {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2",
        "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_PROCID": rank, "SLURM_LOCALID": rank,
        "SLURM_NODELIST": "127.0.0.1",
    },
    "srun, two nodes": lambda node: {
        "SLURM_JOB_ID": "77", "SLURM_JOB_NAME": "x", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "1",
        "SLURM_NNODES": "2", "SLURM_NODEID": node, "SLURM_PROCID": node, "SLURM_LOCALID": "0",
        "SLURM_NODELIST": "127.0.0.1",
    },
}  # fmt: skip
"""Environment variables that a launcher sets for the processes of a training."""

STALE = LAUNCHERS["torchrun"]("3") | LAUNCHERS["srun"]("3") | {"WORLD_SIZE": "4", "SLURM_NTASKS": "4"}
"""Variables that launchers may have left in a shell, with no launcher running."""


@pytest.fixture(scope="session")
def forked(small, cache):
    """Start, wait for, run and kill the command in processes forked from this one.

    The command is run once here first: otherwise each process would import everything itself.
    """
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["limbeck", "train", *small, f"paths.cache={cache}", "eval.start=false"])
        command()
    return SimpleNamespace(
        start=start,
        status=status,
        run=run,
        both=both,
        kills=kills,
        below=below,
        gone=gone,
        wait_for=wait_for,
        Popen=Popen,
        as_program=as_program,
    )


def as_program() -> None:
    """Let Lightning start the other processes as for ``python -m limbeck``; pass it as ``first``."""
    sys.modules["__main__"].__spec__ = importlib.util.find_spec("limbeck.__main__")


def start(words, folder: Path, *, kill=(), env=(), first=None, main=None, log="output") -> int:
    """Start ``limbeck`` in a forked process that logs into a folder; return its process id.

    ``kill`` holds (place, batch, signal): the signal is sent at the first visit of the place in or after that batch.
    ``first`` is called in the process before the command; ``main`` replaces ``limbeck`` by another program.
    """
    child = os.fork()
    if not child:

        def before() -> None:
            os.environ.update(env)
            for each in kill:
                _arm(*each)
            if first:
                first()

        become(words, folder, folder / log, before, main)
    return child


def become(words, folder: Path, log: Path, before=lambda: None, main=None) -> NoReturn:
    """Turn a forked process into ``limbeck`` or another program, leading a process group and appending to a log."""
    status = 1
    try:
        os.setsid()
        gc.freeze()  # garbage collection would copy all pages of the parent
        os.chdir(folder)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            if callable(signal.getsignal(each)) and each != signal.SIGINT:
                signal.signal(each, signal.SIG_DFL)
        sys.argv = ["limbeck", *words]
        before()
        (main or command)()
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def status(child: int) -> int:
    """Wait for a process; return its exit status, or minus the number of the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


class Popen:
    """``python -m MODULE …`` as a fork of this process, with the methods of ``subprocess.Popen`` that limbeck uses.

    For tests that need real processes side by side, but not the seconds in which each would import torch.
    """

    def __init__(self, words, *, env, stdout=None, **_) -> None:
        module, *words = words[words.index("-m") + 1 :]
        log = Path(stdout.name) if stdout else Path.cwd() / "output"

        def before():
            from hydra.core.global_hydra import GlobalHydra

            GlobalHydra.instance().clear()
            os.environ.clear()
            os.environ.update(env)

        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            become(words, Path.cwd(), log, before, lambda: runpy.run_module(module, run_name="__main__"))

    def poll(self) -> int | None:
        """Return the exit status; None while it is running."""
        if self.returncode is None:
            number, how = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(how) if number else None
        return self.returncode

    def wait(self, timeout: float = 600) -> int:
        """Wait until it has ended."""
        wait_for(lambda: self.poll() is not None, timeout)
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def send_signal(self, number: int) -> None:
        """Send a signal if it is running."""
        if self.poll() is None:
            os.kill(self.pid, number)


@pytest.fixture
def forked_joblib(forked, monkeypatch):
    """Let joblib fork its worker processes from this one; they receive their jobs as fresh ones do."""
    from joblib.externals.loky import reusable_executor
    from joblib.externals.loky.backend import fork_exec

    def end():
        if reusable_executor._executor is not None:
            reusable_executor._executor.shutdown(kill_workers=True)

    def fork(command, _, env=None):
        return forked.Popen(command, env=os.environ | (env or {})).pid

    end()  # the fresh processes of an earlier test
    monkeypatch.setattr(fork_exec, "fork_exec", fork)
    yield
    end()


def run(words, folder: Path, **options) -> tuple[int, str]:
    """Run ``limbeck`` to its end; return its exit status and its output."""
    (folder / "output").unlink(missing_ok=True)
    ended = status(start(words, folder, **options))
    return ended, (folder / "output").read_text()


def both(words, folder: Path, *, first=(), second=(), launcher=None) -> tuple[int, int]:
    """Run ``limbeck`` as two processes of one training, each with its kills; return both exit statuses.

    They find each other by variables set by hand, or by those of a ``launcher``. If one fails or is killed, the other
    is killed, as launchers do.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    children = [
        start(words, folder, kill=kill, env=env | LAUNCHERS[launcher](str(rank)))
        for rank, kill in enumerate((first, second))
    ]
    ended: dict[int, int] = {}
    while left := [child for child in children if child not in ended]:
        for child in left:
            if not all(map(_saved, ended.values())):
                os.kill(child, signal.SIGKILL)
            number, how = os.waitpid(child, os.WNOHANG)
            if number:
                ended[child] = os.waitstatus_to_exitcode(how)
        time.sleep(0.02)
    return ended[children[0]], ended[children[1]]


def _saved(ended: int) -> bool:
    """Return whether a process ended normally, or saved and ended after a signal."""
    return ended == 0 or ended > 128


def below(child: int) -> dict[tuple[int, str], str]:
    """Return all child processes of a process, and theirs: (process id, start time) → command."""
    found, left = {}, [child]
    while left:
        for number in _children(left.pop()):
            if state := _state(number):
                found[number, state[1]] = _command(number)
                left.append(number)
    return found


def gone(processes, seconds: float) -> list[str]:
    """Wait until processes have ended; return the commands of those still running after ``seconds`` seconds."""
    until = time.monotonic() + seconds
    while True:
        left = [command for (number, began), command in processes.items() if _lives(number, began)]
        if not left or time.monotonic() > until:
            return left
        time.sleep(0.05)


def wait_for(condition, seconds: float = 120):
    """Return the first true value of a condition; fail after ``seconds`` seconds."""
    until = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < until, "nothing happened"
        time.sleep(0.02)
    return found


def _children(number: int) -> list[int]:
    """Return the present child processes of all threads of a process."""
    found = []
    for path in Path(f"/proc/{number}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _state(number: int) -> tuple[str, str] | None:
    """Return state and start time of a process; None if it has ended."""
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
        return fields[0], fields[19]
    return None


def _lives(number: int, began: str) -> bool:
    state = _state(number)
    return state is not None and state[0] != "Z" and state[1] == began


def _command(number: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{number}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def kills(count: int, batches: int, seed: int) -> list[tuple[str, int, int]]:
    """Draw places and batches for kills: each place in turn, at batches spread at random over a training."""
    rng = random.Random(seed)
    places = (list(PLACES) * count)[:count]
    rng.shuffle(places)
    at = sorted(rng.sample(range(1, batches), count))
    return [(place, batch, signal.SIGKILL) for place, batch in zip(places, at, strict=True)]


def _arm(place: str, batch: int, number: int) -> None:
    from limbeck.training.module import Distillation
    from limbeck.training.refresh import RankRefresh

    at, sent = 0, False

    def die() -> None:
        nonlocal sent
        if at >= batch and not sent:
            sent = True
            os.kill(os.getpid(), number)

    def before(owner, name, also=lambda *_: None):
        call = getattr(owner, name)

        def killed(*given, **named):
            if at >= batch:
                also(*given)
            die()
            return call(*given, **named)

        setattr(owner, name, killed)

    def after(owner, name, only=lambda *_: True):
        call = getattr(owner, name)

        def killed(*given, **named):
            found = call(*given, **named)
            if only(*given):
                die()
            return found

        setattr(owner, name, killed)

    begin = Distillation.on_train_batch_start

    def begun(self, batch, batch_idx):
        nonlocal at
        at = batch_idx
        return begin(self, batch, batch_idx)

    Distillation.on_train_batch_start = begun
    if place == "forward":
        before(Distillation, "training_step")
    elif place == "backward":
        before(Distillation, "on_after_backward")
    elif place == "updated":
        after(Distillation, "optimizer_step")
    elif place == "writing":
        before(os, "fsync", lambda file: os.ftruncate(file, os.fstat(file).st_size // 2))
    elif place == "written":
        before(os, "replace")
    elif place == "set aside":
        after(os, "replace", lambda source, _: Path(source).name == "last.ckpt")
    elif place == "renamed":
        after(os, "replace", lambda source, _: Path(source).name == ".last.ckpt.unfinished")
    elif place == "renewed":
        after(RankRefresh, "_renew")
    elif place == "validating":
        before(Distillation, "validation_step")
    else:
        assert place == "validated"
        after(Distillation, "on_validation_epoch_end")
