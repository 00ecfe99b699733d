"""Which students take vectors of single tokens: those for which no token's neighbours matter."""

from limbeck.config import ConfigError, Node, part, part_name


def check(student: Node, backbone: Node, key: str = "") -> None:
    """Raise a ``ConfigError`` for a student that reads tokens in their context, over vectors of single tokens.

    Parameters
    ----------
    student, backbone
        Configuration nodes.
    key
        Prefix of both keys in messages, as ``teacher.``.
    """
    reason = part(student, key=f"{key}student").context
    if part_name(backbone) == "static" and reason:
        kind = part_name(student)
        raise ConfigError(
            f"{key}student={kind} needs tokens in their context: {reason}. A static backbone has one vector for a "
            f"token wherever it stands, and averages them: choose {key}student=dense, or another backbone"
        )
