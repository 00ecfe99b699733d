"""How a ranker wants its texts: lengths, prefixes and suffixes, markers, which tokens get a vector."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextFormat:
    """How a ranker wants its texts.

    Parameters
    ----------
    paired
        Query and document go in as one sequence (cross-encoders).
    query_prefix, document_prefix
        Put before each text, ``"query: "`` for example.
    query_suffix, document_suffix
        Put after each text; one that is too long is cut before it.
    query_length, document_length
        Longest query and document in tokens; for separate texts, special tokens and the marker included.
    query_marker, document_marker
        Token put after the first special token of each separate text; ``""`` for none. ``auto`` takes ``[unused0]`` and
        ``[unused1]`` where the vocabulary has them, as ColBERT does, and none where it has not.
    query_augment
        Fill queries with mask tokens up to ``query_length``; each gets a vector of its own.
    attend_augmented
        Let the other tokens attend to them.
    skip_punctuation
        Documents' punctuation gets no vector of its own.
    skip_words
        Nor do these tokens of documents; those that the vocabulary lacks are passed over.
    skip_special
        Queries' special tokens ([CLS] and the like) get none.
    keep_unknown
        But the token for an unknown word does.

    Raises
    ------
    ValueError
        A length leaves no room for a token.
    """

    paired: bool
    query_prefix: str = ""
    document_prefix: str = ""
    query_length: int = 32
    document_length: int = 128
    query_marker: str = ""
    document_marker: str = ""
    query_augment: bool = False
    attend_augmented: bool = False
    skip_punctuation: bool = False
    skip_special: bool = False
    skip_words: tuple[str, ...] = ()
    query_suffix: str = ""
    document_suffix: str = ""
    keep_unknown: bool = False

    def __post_init__(self) -> None:
        for name in ("query_length", "document_length"):
            if getattr(self, name) < 3:
                raise ValueError(f"{name} must be >= 3 tokens, got {getattr(self, name)}")
        if self.attend_augmented and not self.query_augment:
            raise ValueError("attend_augmented needs query_augment=true: without it there is nothing to attend to")
