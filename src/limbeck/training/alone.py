"""The cluster of a training on one device: none, whatever the environment says."""

import os

from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port


class Alone(LightningEnvironment):
    """One process of one; the variables of torchrun, SLURM and MPI are not read.

    Lightning numbers processes when it is imported, by ``RANK``, ``LOCAL_RANK`` or ``SLURM_PROCID``: this one is the
    first, and logs and saves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_global_rank(0)
        # torch would connect a process group (strategy=ddp on one device) to the agent of a torchrun.
        os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)

    @property
    def creates_processes_externally(self) -> bool:
        """Return False: there are no others."""
        return False

    @property
    def main_address(self) -> str:
        """Return this machine."""
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        """Return a free port."""
        if self._main_port == -1:
            self._main_port = find_free_network_port()
        return self._main_port

    def local_rank(self) -> int:
        """Return 0."""
        return 0

    def node_rank(self) -> int:
        """Return 0."""
        return 0
