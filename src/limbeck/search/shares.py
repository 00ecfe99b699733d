"""Shares of work: share i of n has every n-th shard."""

import re

from limbeck.config import ConfigError


def share(word: str | None) -> tuple[int, int]:
    """Parse ``i/n``, i from 1 to n; None is 1/1.

    Returns
    -------
    tuple
        (i - 1, n).

    Raises
    ------
    ConfigError
        The text is no such share.
    """
    if word is None:
        return 0, 1
    found = re.fullmatch(r"(\d+)/(\d+)", word)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"shard must be i/n with i from 1 to n, 2/8 for example, got {word!r}")
    return int(found[1]) - 1, int(found[2])
