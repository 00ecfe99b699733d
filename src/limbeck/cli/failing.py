"""How the command ends when something is wrong."""

import sys
from typing import NoReturn


def fail(message: str, status: int = 2) -> NoReturn:
    """Print a message and end the program."""
    print(f"limbeck: {message}", file=sys.stderr)
    raise SystemExit(status)
