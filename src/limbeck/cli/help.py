"""``limbeck help WORD``, ``limbeck VERB --help``: explain a verb, a group, a part or a key."""

from collections.abc import Sequence

from limbeck.cli.failing import show


def run(words: Sequence[str]) -> None:
    """Print the help screen of a word, or of the command."""
    from limbeck.manual.screens import of_command, of_word

    show("\n\n".join(map(of_word, words)) or of_command().rstrip())
