"""Encode a collection into a store, shard by shard."""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import NamedTuple

from limbeck import room
from limbeck.ahead import ahead
from limbeck.config import ConfigError
from limbeck.encodings import Rows, join
from limbeck.inference import BiEncoder, blocks, encode
from limbeck.plan import BLOCK
from limbeck.progress import Step
from limbeck.search.shards import Store
from limbeck.text.collate import Collator


class Encoded(NamedTuple):
    """The outcome of encoding."""

    documents: int
    """Number of documents in the collection."""
    encoded: int
    """Number of documents encoded by this call."""
    seconds: float
    """Seconds from reading the first document to writing the last, tokenising included."""
    finished: bool
    """Whether the store has all shards."""


def encode_into(
    store: Store,
    ranker: BiEncoder,
    collator: Collator,
    documents: Iterable[tuple[str, str]],
    *,
    count: int | None = None,
    instead: str = "",
    share: tuple[int, int] = (0, 1),
    bf16: bool = False,
) -> Encoded:
    """Encode the shards that a store lacks; the collection is streamed.

    A shard does not depend on other shards, so that any process writes the same bytes for any share of the work.

    Parameters
    ----------
    store
        The store to fill.
    ranker
        A ranker that encodes queries and documents separately.
    collator
        Has the ranker's tokenizer and text format.
    documents
        (id, text) of the whole collection, always in the same order.
    count
        Number of documents, for the progress bar and for the estimate of disk space.
    instead
        Advice where the disk is too small.
    share
        (i, n): encode the shards i, i + n, i + 2n, …
    bf16
        Encode under bfloat16 autocast.

    Raises
    ------
    ConfigError
        The collection is empty, or an id appears twice in a shard, or has white space; or the disk is too small.
    """
    start = time.perf_counter()
    total, each = 0, 0.0
    lacking = None if count is None else _lacking(store, count, share)

    def needs() -> str:
        return room.words(disk=each * lacking, folder=store.path, instead=instead) if each and lacking else ""

    step = Step(f"encoding into {store.path}", lacking, "documents", needs=needs)
    with ThreadPoolExecutor(1) as writer, step:  # encode a shard while reading the next and writing the previous one
        written: Future[None] | None = None
        for number, chunk in enumerate(ahead(_chunks(documents, store.shard_size))):
            if number % share[1] == share[0] and not store.has(number):
                if ranker.kind == "dense" and lacking and not each:  # other kinds differ in size from text to text
                    each = _size(store, _encode(chunk[:1], ranker, collator, bf16)[1])
                    room.check_disk(int(each * lacking), store.path, "encoding the collection", instead)
                step.begin(len(chunk), parts=-(-len(chunk) // BLOCK))
                ids, encoded = _encode(chunk, ranker, collator, bf16)
                each = each or _size(store, encoded)
                if written is not None:
                    written.result()
                written = writer.submit(store.write, number, ids, encoded)
                step.advance(len(chunk))
            total += len(chunk)
        if written is not None:
            written.result()
    if not total:
        raise ConfigError("data.collection has no documents: there is nothing to index")
    return Encoded(total, int(step.done), time.perf_counter() - start, store.finish(total))


def _size(store: Store, encoded: Rows) -> float:
    """Return the mean size of a text on disk in bytes, from a sample."""
    return encoded.stored(store.identity["dtype"]).size / len(encoded)


def _lacking(store: Store, count: int, share: tuple[int, int]) -> int:
    """Return how many documents a share of the work has still to encode."""
    shards = range(share[0], -(-count // store.shard_size), share[1])
    return sum(min(store.shard_size, count - n * store.shard_size) for n in shards if not store.has(n))


def _chunks(documents: Iterable[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    stream = iter(documents)
    while chunk := list(islice(stream, size)):
        yield chunk


def check_ids(ids: Iterable[str], what: str) -> None:
    """Raise ``ConfigError`` for an id that cannot be a column of a run file; ``what`` names its kind."""
    wrong = next((name for name in ids if name.encode().split() != [name.encode()]), None)
    if wrong is not None:
        raise ConfigError(f"{what} {wrong!r} is empty or has white space, which no TREC run can hold; change it")


def _encode(
    chunk: Sequence[tuple[str, str]], ranker: BiEncoder, collator: Collator, bf16: bool
) -> tuple[list[str], Rows]:
    texts = dict(chunk)
    ids = list(texts)
    if len(ids) < len(chunk):
        seen: set[str] = set()
        twice = next(name for name, _ in chunk if name in seen or seen.add(name))
        raise ConfigError(f"data.collection: the document id {twice!r} appears twice; ids must differ")
    check_ids(ids, "data.collection: the document id")
    if not collator.prepare("document"):  # the texts are in memory: no look-up is needed
        collator = Collator(collator.tokenizer, collator.style, lambda _: [], lambda ids: [texts[name] for name in ids])
    return ids, join([encode(ranker, collator, block, "document", bf16=bf16) for block in blocks(ids, BLOCK)])
