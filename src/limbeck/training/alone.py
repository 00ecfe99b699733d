"""Lightning's cluster environment for training on one device: it ignores launchers' environment variables."""

import os

from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.fabric.plugins.environments.lightning import find_free_network_port


class Alone(LightningEnvironment):
    """A single process, whatever the environment variables of torchrun, SLURM and MPI say.

    On import, Lightning sets the rank from ``RANK``, ``LOCAL_RANK`` or ``SLURM_PROCID``. This class sets it to 0, so
    that the process logs and saves.
    """

    def __init__(self) -> None:
        super().__init__()
        self.set_global_rank(0)
        # With strategy=ddp on one device, torch would connect its process group to a torchrun agent.
        os.environ.pop("TORCHELASTIC_USE_AGENT_STORE", None)

    @property
    def creates_processes_externally(self) -> bool:
        """Return False: there are no other processes."""
        return False

    @property
    def main_address(self) -> str:
        """Return the address of this machine."""
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
