"""Start the trials of a study: as processes of this machine, or as tasks of a Ray cluster."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import ConfigError, build

if TYPE_CHECKING:
    from omegaconf import DictConfig

    from limbeck.tuning.on_ray import RayProcess
    from limbeck.tuning.process import Process

Start = Callable[[str, Sequence[str], Path, Mapping[str, str]], "Process | RayProcess"]
"""Maps module, arguments, output file and environment to a started process."""


@contextmanager
def placing(node: "DictConfig") -> Iterator[Start]:
    """Yield the function that starts the process of a trial; a cluster that was started here ends with this context.

    Parameters
    ----------
    node
        ``launcher`` as composed.

    Raises
    ------
    ConfigError
        The launcher is neither ``serial`` nor ``ray``, or there is no such cluster.
    """
    from omegaconf import OmegaConf

    from limbeck.launchers.ray import Ray
    from limbeck.launchers.serial import Serial
    from limbeck.tuning.on_ray import RayProcess
    from limbeck.tuning.process import Process

    plain: Any = OmegaConf.to_container(node, resolve=True)
    launcher = build(plain, key="launcher")
    if isinstance(launcher, Ray):
        with launcher.connected():  # Ray assigns GPUs and threads: no environment variables are needed
            yield lambda module, words, log, _: RayProcess(launcher, module, words, log)
    elif isinstance(launcher, Serial):
        yield Process
    else:
        raise ConfigError(
            "launcher: a study starts its trials itself, tune.workers at once: on this machine, or with launcher=ray "
            "on a cluster; for SLURM give the command in a job"
        )
