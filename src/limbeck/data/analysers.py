"""Split text into tokens for BM25: words, or characters for scripts without spaces between words."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import cache
from itertools import chain, pairwise, starmap
from typing import Any

ANALYSERS = ("words", "characters")

STOPWORDS = {
    "en": "english", "en_plus": "english_plus", "de": "german", "nl": "dutch", "fr": "french", "es": "spanish",
    "pt": "portuguese", "it": "italian", "ru": "russian", "sv": "swedish", "no": "norwegian", "zh": "chinese",
    "tr": "turkish", "ko": "korean", "da": "danish",
}  # fmt: skip
"""bm25s's lists of stop words: code → name; either selects a list."""

_UNSEGMENTED = (
    (0x0E00, 0x10A0),  # Thai, Lao, Tibetan, Burmese
    (0x1780, 0x1800),  # Khmer
    (0x1950, 0x19E0),  # Tai Le, New Tai Lue
    (0x1A20, 0x1AB0),  # Tai Tham
    (0x2E80, 0x2FE0),  # radicals of Chinese characters
    (0x3005, 0x3008),
    (0x3021, 0x3130),  # hiragana, katakana, bopomofo
    (0x31A0, 0x3200),
    (0x3400, 0xA000),  # Chinese characters
    (0xA980, 0xAA00),  # Javanese, Burmese
    (0xAA60, 0xAAE0),
    (0xF900, 0xFB00),
    (0x1B000, 0x1B170),
    (0x20000, 0x40000),  # rare Chinese characters
)
"""Code blocks of scripts without spaces between words: (first code point, last + 1)."""

_END = 0x40000
"""Code points from here on are no letters, combining marks or symbols."""


def words(texts: list[str], *, stopwords: str | None, stemmer: Any) -> list[list[str]]:
    r"""Return the words of texts: two or more of ``\w`` in a row, in lower case, without stop words, stemmed."""
    import bm25s

    dropped: Any = stopwords or []
    tokens: Any = bm25s.tokenize(texts, stopwords=dropped, stemmer=stemmer, return_ids=False, show_progress=False)
    return tokens


def characters(texts: Iterable[str], *, stopwords: str | None, stemmer: Any) -> list[list[str]]:
    r"""Return single characters and pairs of them for scripts without spaces between words, and whole words for others.

    Texts are normalised to NFKC and lower-cased. A run $`c_1 … c_n`$ of characters of a script without spaces between
    words (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan, …) or of symbols (emoji) gives

    ```math
    c_1, …, c_n, \; c_1c_2, …, c_{n-1}c_n
    ```

    so that a query of one character finds documents, and pairs, which are rarer, weigh more than their characters. Any
    other run of letters, marks and digits is one word, even a single letter; stop words are dropped and other words
    stemmed.

    Parameters
    ----------
    texts
        In any script or mixture of scripts.
    stopwords
        Name of a bm25s list of stop words; None keeps all words.
    stemmer
        Snowball stemmer for words; None stems none.
    """
    dropped = _stopwords(stopwords)
    return [_characters(text, dropped, stemmer) for text in texts]


def _characters(text: str, stopwords: Collection[str], stemmer: Any) -> list[str]:
    tokens: list[str] = []
    for run, word in _runs().findall(unicodedata.normalize("NFKC", text).lower()):
        if run:
            tokens += run
            tokens += map("".join, pairwise(run))
        elif word not in stopwords:
            tokens.append(word if stemmer is None else stemmer.stemWord(word))
    return tokens


@cache
def _stopwords(name: str | None) -> frozenset[str]:
    from bm25s import tokenization

    if name is None:
        return frozenset()
    return frozenset(tokenization._infer_stopwords(name))


@cache
def _runs() -> re.Pattern[str]:
    """Return a pattern of two groups: a run of characters without spaces between words, or a word."""
    without_blanks = set(chain.from_iterable(starmap(range, _UNSEGMENTED)))
    unparted, marks = [], []
    for code in range(_END):
        category = unicodedata.category(chr(code))
        if category == "So" or (category[0] in "LMN" and code in without_blanks):
            unparted.append(code)
        elif category[0] == "M":
            marks.append(code)
    run = _ranges(unparted)
    return re.compile(rf"([{run}]+)|((?:(?![{run}])[\w{_ranges(marks)}])+)")


def _ranges(codes: list[int]) -> str:
    """Return ascending code points as the contents of a character class."""
    starts = [code for code, before in zip(codes, [-2, *codes], strict=False) if code != before + 1]
    stops = [code for code, after in zip(codes, [*codes[1:], _END + 1], strict=True) if code != after - 1]
    return "".join(f"{re.escape(chr(a))}-{re.escape(chr(b))}" for a, b in zip(starts, stops, strict=True))
