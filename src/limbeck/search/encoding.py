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
    """What came of it."""

    documents: int
    """Of the whole collection."""
    encoded: int
    """Of them encoded now."""
    seconds: float
    """From the first document that is read to the last that is written, tokenising included."""
    finished: bool
    """Whether all shards are there."""


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

    What a shard holds does not depend on the others, so any share of the work, in any process, gives the same bytes.

    Parameters
    ----------
    store
        Where to.
    ranker, collator
        A separable ranker and the collator that knows its tokenizer and text format.
    documents
        (id, text) of the whole collection, always in the same order.
    count
        How many there are, to say how far it is and whether the disk will do.
    instead
        What to do where it will not.
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
    with ThreadPoolExecutor(1) as writer, step:  # a shard is encoded while the next is read and the last one written
        written: Future[None] | None = None
        for number, chunk in enumerate(ahead(_chunks(documents, store.shard_size))):
            if number % share[1] == share[0] and not store.has(number):
                if ranker.kind == "dense" and lacking and not each:  # others differ in size from text to text
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
    """Return the bytes of a text on disk, in the mean of some."""
    return encoded.stored(store.identity["dtype"]).size / len(encoded)


def _lacking(store: Store, count: int, share: tuple[int, int]) -> int:
    """Return how many documents a share of the work is still to encode."""
    shards = range(share[0], -(-count // store.shard_size), share[1])
    return sum(min(store.shard_size, count - n * store.shard_size) for n in shards if not store.has(n))


def _chunks(documents: Iterable[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    stream = iter(documents)
    while chunk := list(islice(stream, size)):
        yield chunk


def check_ids(ids: Iterable[str], what: str) -> None:
    """Raise ``ConfigError`` for an id that would not be one column of a run file; ``what`` says whose it is."""
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
    if not collator.prepare("document"):  # the texts are at hand: they need not be looked up
        collator = Collator(collator.tokenizer, collator.style, lambda _: [], lambda ids: [texts[name] for name in ids])
    return ids, join([encode(ranker, collator, block, "document", bf16=bf16) for block in blocks(ids, BLOCK)])
