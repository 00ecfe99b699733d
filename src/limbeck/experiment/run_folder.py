"""Run folders: ``runs/NAME/RUN_ID``. ``result.json`` is written last, by a rename: where it exists, the run is done."""

import contextlib
import json
import logging
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TextIO

from limbeck.artefacts import write_json
from limbeck.config import Config, ConfigError, Node, home
from limbeck.experiment.sharing import SHARES
from limbeck.locks import is_held, locked
from limbeck.progress import draw_bars, not_drawn
from limbeck.secrecy import masked, without_secrets
from limbeck.training.cluster import rank, several
from limbeck.training.validations import PRUNED
from limbeck.unfinished import remove, write_text

_LOGGER = logging.getLogger("limbeck")
_LOCK = ".lock"
_REPORTED = (
    "torch", "lightning", "hydra-core", "omegaconf", "transformers", "tokenizers", "wandb", "ir_datasets", "ranx",
    "bm25s", "numpy", "pyarrow",
)  # fmt: skip


def main_process(config: Node) -> bool:
    """Return whether this is the first process of a run, which alone writes; on one device it is the only one.

    Raises
    ------
    ConfigError
        ``trainer.devices`` does not match the processes that a launcher has started.
    """
    return _rank(config) == 0


def _rank(config: Node) -> int:
    trainer = config.get("trainer")
    return 0 if trainer is None else rank(trainer["devices"], trainer["num_nodes"])


def below(root: str, name: object) -> Path:
    """Return the folder of a name below a root.

    Raises
    ------
    ConfigError
        The name is empty or leads out of the root, as a name in somebody else's experiment might.
    """
    given = Path(str(name))
    if given.is_absolute() or not given.parts or ".." in given.parts:
        raise ConfigError(f"name must be a folder below paths.runs={root}, got {str(name)!r}")
    return Path(root) / given


class RunFolder:
    """The folder of one run.

    Parameters
    ----------
    path
        ``runs/NAME/RUN_ID``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"

    def result(self) -> Config | None:
        """Return the finished result, or None."""
        return _read(self.path / "result.json")

    def finish(self, result: Config) -> None:
        """Write the result, and remove the files of unfinished work."""
        write_json(self.path / "result.json", result)
        shutil.rmtree(self.path / SHARES, ignore_errors=True)

    def trained(self) -> Config | None:
        """Return the record of the finished training, or None."""
        return _read(self.path / "trained.json")

    def busy(self) -> bool:
        """Return whether a process is working on this run now."""
        return is_held(self.path / _LOCK)

    def state(self) -> str:
        """Return the state of the run in words."""
        if self.busy():
            return "being run by a process"
        if (self.path / "result.json").exists():
            return "finished"
        if (self.path / PRUNED).exists():
            return "ended early by a study; goes on from its last checkpoint"
        if (self.path / "trained.json").exists() or self.checkpoints.exists():
            return "interrupted; goes on from its last checkpoint"
        if (self.path / "error.txt").exists():
            return f"failed: {(self.path / 'error.txt').read_text(encoding='utf-8').strip().splitlines()[-1]}"
        return "to run"

    @contextlib.contextmanager
    def opened(self, config: Node, overrides: Sequence[str], *, wait: bool = True) -> Iterator[None]:
        """Hold the folder during the run: record the configuration, log into the folder, save the error if any.

        Parameters
        ----------
        config
            Plain containers.
        overrides
            Overrides from which the command composes this run.
        wait
            Wait for another process that works on the same run.

        Raises
        ------
        BusyError
            Another process works on the same run, and ``wait`` is False.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        number = _rank(config)
        if number:
            with _logged(self.path / f"train.rank-{number}.log", errors=True):
                yield
            return
        what = f"the run {self.path}{_hint()}"
        with locked(self.path / _LOCK, what, wait=wait), self._recorded(config, overrides):
            yield

    @contextlib.contextmanager
    def _recorded(self, config: Node, overrides: Sequence[str]) -> Iterator[None]:
        if config["force"]:
            self._clear()
        with _logged(self.path / "train.log"):
            try:
                (self.path / PRUNED).unlink(missing_ok=True)
                _record(self.path, config, overrides)
                _LOGGER.info("run folder: %s", self.path)
                yield
                (self.path / "error.txt").unlink(missing_ok=True)
            except BaseException:
                with contextlib.suppress(OSError):  # the disk is full: the error that is raised says so
                    write_text(self.path / "error.txt", traceback.format_exc())
                raise

    def _clear(self) -> None:
        """Delete the files of an earlier run, except the lock (this process holds it) and other processes' logs."""
        for path in self.path.iterdir():
            if path.name != _LOCK and not path.name.startswith("train.rank-"):
                remove(path)


@contextlib.contextmanager
def _logged(path: Path, *, errors: bool = False) -> Iterator[None]:
    """Log this process into a file in this context; with ``errors``, also the error that ended it."""
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%d %H:%M:%S"))
    _LOGGER.addHandler(handler)
    try:
        if errors:
            _LOGGER.info("process %d on host %s", os.getpid(), socket.gethostname())
        yield
    except BaseException:
        if errors:
            handler.handle(logging.makeLogRecord({"msg": traceback.format_exc(), "levelno": logging.ERROR}))
        raise
    finally:
        _LOGGER.removeHandler(handler)
        handler.close()


def _hint() -> str:
    found = several()
    said = f" ({found} is set: if a launcher has started several processes of one run, give trainer.devices)"
    return said if found else ""


class _Stderr(logging.StreamHandler):
    """Writes to the present standard error, not to the one at the time when logging began."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:
        return sys.stderr


def console(quiet: bool = False, *, main: bool = True) -> None:
    """Log this process to standard error.

    Parameters
    ----------
    quiet
        Only errors go to standard error, without progress bars; ``train.log`` has the rest.
    main
        Whether this is the first process of a run; the others write only errors there, and everything into their own
        logs.
    """
    draw_bars(not quiet)
    _LOGGER.setLevel(logging.INFO)
    if not _LOGGER.handlers:
        handler = _Stderr()
        handler.setFormatter(logging.Formatter("%(message)s"))
        handler.addFilter(not_drawn)
        _LOGGER.addHandler(handler)
        _LOGGER.propagate = False
    for handler in _LOGGER.handlers:
        if isinstance(handler, _Stderr):
            handler.setLevel(logging.ERROR if quiet or not main else logging.INFO)


def _read(path: Path) -> Config | None:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
    except ValueError as error:
        raise ConfigError(
            f"{path} cannot be read ({error}); delete it and run the command again: finished runs are reused"
        ) from None


def _record(path: Path, config: Node, overrides: Sequence[str]) -> None:
    write_text(path / "config.yaml", _as_yaml(without_secrets(config)))
    write_json(path / "env.json", {**_environment(), "overrides": masked(overrides)})


def _as_yaml(node: Node) -> str:
    """Return plain containers as YAML that OmegaConf reads back; OmegaConf's own writer takes 15 times as long."""
    import yaml

    class Writer(yaml.CSafeDumper):
        def ignore_aliases(self, data: object) -> bool:
            return True

        def text(self, value: str) -> yaml.ScalarNode:
            number = re.fullmatch(r"[-+.:_eE\d]+", value)  # OmegaConf reads 1e-2 as a number, YAML as text
            return self.represent_scalar("tag:yaml.org,2002:str", value, style="'" if number else None)

    Writer.add_representer(str, Writer.text)
    return yaml.dump(node, Dumper=Writer, sort_keys=False, default_flow_style=False, allow_unicode=True)


def _environment() -> Config:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _cpu()
    return {
        "command": ["limbeck", *masked(sys.argv[1:])],
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **_code(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
    }


@cache
def _code() -> Config:
    """Return the version of the running code; it is loaded, so that later changes of the files do not matter."""
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "versions": {name: version(name) for name in _REPORTED},
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")


def _git(*words: str) -> str | None:
    if not (home() / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(
            ["git", "-C", str(home()), *words], capture_output=True, text=True, check=True
        ).stdout.strip()
    return None
