"""Check that the maximum lengths of a student fit its backbone."""

from limbeck.backbones.families import most_tokens
from limbeck.config import ConfigError
from limbeck.students.base import Student
from limbeck.text.tokenizer import TextTokenizer


def check(model: Student, tokenizer: TextTokenizer, key: str) -> None:
    """Raise an error if a student's maximum lengths exceed those of its backbone.

    Parameters
    ----------
    model
        The student.
    tokenizer
        Its tokenizer.
    key
        Prefix of the student's key, such as ``teacher.``.

    Raises
    ------
    ConfigError
        A length is too large.
    """
    most = most_tokens(model.backbone)
    if most is None:
        return
    style = model.style
    queries = style.query_length if model.reads_queries else 0
    wanted = (
        queries + style.document_length + tokenizer.pair_overhead
        if style.paired
        else max(queries, style.document_length)
    )
    if wanted > most:
        longest = "query_length" if queries > style.document_length else "document_length"
        raise ConfigError(
            f"{key}student.{longest}: {wanted} tokens do not fit the backbone, which reads at most {most}; "
            f"lower {key}student.{longest}"
        )
