"""``limbeck help WORD``, ``limbeck VERB --help``: what a verb, a group, a part or a key is."""

from collections.abc import Sequence

from limbeck.cli.failing import show


def run(words: Sequence[str]) -> None:
    """Print the screen of a word, or that of the command."""
    from limbeck.manual.screens import of_command, of_word

    show("\n\n".join(map(of_word, words)) or of_command().rstrip())
