"""The folder and the environment of a command, for processes that a daemon starts."""

import os
from dataclasses import dataclass

from limbeck.processes import PARENT
from limbeck.secrecy import is_secret

_READ = ("LIMBECK_", "HF_", "TRANSFORMERS_", "IR_DATASETS_", "WANDB_", "NUMBA_", "TOKENIZERS_", "TORCH")
"""Prefixes of environment variables that affect a job."""
_OWN = ("LIMBECK_HOME", "LIMBECK_SHARE", PARENT, "TORCHELASTIC_RUN_ID", "WANDB_SERVICE")
"""Variables that are valid only for one machine or process."""


@dataclass(frozen=True)
class Place:
    """A working directory and environment variables."""

    folder: str
    variables: dict[str, str]

    @classmethod
    def here(cls) -> "Place":
        """Return those of this process, without variables whose names sound like secrets."""
        names = (name for name in os.environ if name.startswith(_READ) and name not in _OWN)
        return cls(os.getcwd(), {name: os.environ[name] for name in names if not is_secret(name)})

    def enter(self) -> None:
        """Change to the folder, and set the variables.

        Raises
        ------
        OSError
            The folder does not exist: this machine does not share the file system.
        """
        os.chdir(self.folder)
        os.environ.update(self.variables)
