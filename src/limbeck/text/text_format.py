"""The text format of a ranker: lengths, prefixes, suffixes, markers, and which tokens get a vector."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TextFormat:
    """How a ranker formats its texts.

    Parameters
    ----------
    paired
        Whether query and document are one sequence (cross-encoders).
    query_prefix
        Text before each query. For example: ``"query: "``.
    document_prefix
        Text before each document.
    query_suffix
        Text after each query. Long queries are cut before it.
    document_suffix
        Text after each document. Long documents are cut before it.
    query_length
        Maximum length of a query in tokens. For bi-encoders, it includes special tokens and the marker.
    document_length
        Maximum length of a document in tokens. For bi-encoders, it includes special tokens and the marker.
    query_marker
        Marker token of queries, after the first special token. For bi-encoders; ``""`` is none, ``auto`` is
        ``[unused0]``, as in ColBERT, if the vocabulary has it, else none.
    document_marker
        Marker token of documents, after the first special token. For bi-encoders; ``""`` is none, ``auto`` is
        ``[unused1]``, as in ColBERT, if the vocabulary has it, else none.
    query_augment
        Pad queries with mask tokens to ``query_length``; each mask token gets a vector.
    attend_augmented
        Let other tokens attend to these mask tokens.
    skip_punctuation
        Punctuation in documents gets no vector.
    skip_words
        These tokens in documents get no vector; tokens that are not in the vocabulary are ignored.
    skip_special
        Special tokens ([CLS] and so on) in queries get no vector.
    keep_unknown
        With ``skip_special``, the unknown token still gets a vector.

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
            raise ValueError("attend_augmented needs query_augment=true: else there are no tokens to attend to")
