"""Times, sizes and numbers in words."""


def duration(seconds: float) -> str:
    """Return a time in words.

    Examples
    --------
    >>> [duration(each) for each in (42.4, 600, 4200, 86400)]
    ['42 s', '10 min', '1 h 10 min', '24 h']
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 and minutes < 24 * 60 else f"{minutes / 60:.0f} h"


def bytes_of(count: float) -> str:
    """Return a number of bytes in words.

    Examples
    --------
    >>> [bytes_of(each) for each in (512, 2_300_000, 41e9)]
    ['512 B', '2.3 MB', '41 GB']
    """
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}" if count < 10 * size else f"{count / size:.0f} {unit}"
    return f"{count:.0f} B"


def amount(count: float, unit: str) -> str:
    """Return a number of units in words; ``B`` stands for bytes."""
    return bytes_of(count) if unit == "B" else f"{int(count):,} {unit}"


def number(value: float) -> str:
    """Return a number with a readable number of digits."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
