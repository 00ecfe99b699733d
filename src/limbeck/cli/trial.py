"""``python -m limbeck.cli.trial train …``: the command as a trial of a study, with its own GPU if requested.

It ends when the study's process is gone, so that no training continues unnoticed, and a study that is started again
finds its runs unlocked.
"""

import os

from limbeck.cli.failing import fail
from limbeck.launchers.devices import take
from limbeck.processes import end_with_parent
from limbeck.tuning.process import TAKE_DEVICE


def main() -> None:
    """Take a GPU and run the command."""
    end_with_parent()
    if os.environ.get(TAKE_DEVICE):
        try:
            take()
        except RuntimeError as error:
            fail(str(error), 1)
    from limbeck.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
