"""``limbeck completion SHELL`` prints the script of tab completion, which calls it with ``--line LINE``."""

from collections.abc import Sequence

from limbeck.config import ConfigError


def run(words: Sequence[str]) -> None:
    """Print a script, or the completions of a command line."""
    from limbeck.manual.completion import candidates
    from limbeck.manual.shells import SHELLS

    match list(words):
        case ["--line", line]:
            print("".join(f"{each}\n" for each in candidates(line)), end="")
        case [shell] if shell in SHELLS:
            print(SHELLS[shell], end="")
        case _:
            raise ConfigError(f"limbeck completion takes the name of a shell: {', '.join(SHELLS)}")
