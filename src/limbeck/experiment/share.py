"""``python -m limbeck.experiment.share FOLDER NUMBER``: one process's share of the job in a folder."""

import logging
import os
import sys
from pathlib import Path

from limbeck.processes import end_with_parent


def main() -> None:
    """Do the share; the work is imported last, so that the process ends with its parent even during imports."""
    end_with_parent()
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    logging.getLogger("limbeck").setLevel(logging.WARNING)
    from limbeck.experiment.engine import work

    work(Path(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    main()
