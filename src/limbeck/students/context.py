"""Check that a student works with a static backbone, which has no contextual token vectors."""

from limbeck.config import ConfigError, Node, part, part_name


def check(student: Node, backbone: Node, key: str = "") -> None:
    """Raise ``ConfigError`` for a student that needs contextual token vectors with ``backbone=static``.

    Parameters
    ----------
    student
        Configuration of the student.
    backbone
        Configuration of the backbone.
    key
        Prefix of both keys in messages, such as ``teacher.``.
    """
    reason = part(student, key=f"{key}student").context
    if part_name(backbone) == "static" and reason:
        kind = part_name(student)
        raise ConfigError(
            f"{key}student={kind} needs contextual token vectors: {reason}. A static backbone averages one fixed "
            f"vector per token: choose {key}student=dense, or another backbone"
        )
