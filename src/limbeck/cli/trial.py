"""``python -m limbeck.cli.trial train …``: the command as a trial of a study, which ends when the study's process does.

The study holds the other end of standard input. However it ends, the system closes that, and this process ends with
all that it has started: so no training goes on unseen, and a study that is given again finds its runs free.
"""

import os
import signal
import threading

from limbeck.cli.errors import fail
from limbeck.launchers.devices import take
from limbeck.tuning.process import TAKE_DEVICE


def _end_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Run the command, watching standard input."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if os.environ.get(TAKE_DEVICE):
        try:
            take()
        except RuntimeError as error:
            fail(str(error), 1)
    from limbeck.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
