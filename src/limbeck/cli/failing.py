"""Print errors, and end the command."""

import os
import sys
from typing import NoReturn


def fail(message: str, status: int = 2) -> NoReturn:
    """Print a message and end the program."""
    print(f"limbeck: {message}", file=sys.stderr)
    raise SystemExit(status)


def show(text: str) -> None:
    """Print a text; the reader may close the pipe early, as ``limbeck help | head`` does."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter reports an error at exit
