"""``python -m limbeck.cli.trial train …``: the command as a trial of a study, on a GPU of its own if asked to.

It ends when the study's process is gone: so no training goes on unseen, and a study that is given again finds its runs
free.
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
