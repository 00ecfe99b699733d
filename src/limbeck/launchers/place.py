"""Where a command was given, for processes that a daemon starts: the folder, and what we read of the environment."""

import os
from dataclasses import dataclass

from limbeck.processes import PARENT
from limbeck.secrecy import is_secret

_READ = ("LIMBECK_", "HF_", "TRANSFORMERS_", "IR_DATASETS_", "WANDB_", "NUMBA_", "TOKENIZERS_", "TORCH")
"""What names of variables begin with that say how a job is done."""
_OWN = ("LIMBECK_HOME", "LIMBECK_SHARE", PARENT, "TORCHELASTIC_RUN_ID", "WANDB_SERVICE")
"""What holds for one machine, or one process, alone."""


@dataclass(frozen=True)
class Place:
    """A working directory and some variables."""

    folder: str
    variables: dict[str, str]

    @classmethod
    def here(cls) -> "Place":
        """Return that of this process; variables whose names sound like secrets are left out."""
        names = (name for name in os.environ if name.startswith(_READ) and name not in _OWN)
        return cls(os.getcwd(), {name: os.environ[name] for name in names if not is_secret(name)})

    def enter(self) -> None:
        """Go there, and take over the variables.

        Raises
        ------
        OSError
            The folder is not there: this machine does not share the file system.
        """
        os.chdir(self.folder)
        os.environ.update(self.variables)
