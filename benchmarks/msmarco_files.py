"""The files of a collection shaped like MS MARCO (``msmarco_like.py``), where commands look for them."""

import gzip
import json
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from msmarco_like import ACTIVE, BEIR, CHECKPOINTS, OF_TOPIC, PIECES, SCORED, WIDTH, Split, World, splits


def write(home: Path, world: World, share: int) -> dict[str, Any]:
    """Write ``msmarco-passage`` into a home folder of ir_datasets.

    Parameters
    ----------
    home
        ``IR_DATASETS_HOME``.
    world
        What is written.
    share
        Training queries of ``train/medical``.

    Returns
    -------
    dict
        What was counted.
    """
    folder = home / "msmarco-passage"
    for name in ("train", "dev/small", "trec-dl-2019", "trec-dl-2020"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    found = splits(world)
    words = 0
    with (folder / "collection.tsv").open("w", encoding="utf-8") as file:
        for first, texts in world.blocks():
            words += len(texts.words)
            lines = texts.strings(world.names).to_pylist()
            file.writelines(f"{number}\t{text}\n" for number, text in enumerate(lines, first))
            for number, split in enumerate(found):
                here = np.flatnonzero((split.positives >= first) & (split.positives < first + len(lines)))
                asked = world.asked(split.positives[here], first, texts, number).strings(world.names).to_pylist()
                for place, text in zip(here.tolist(), asked, strict=True):
                    split.texts[place] = text
    train, unjudged, dev, old, new = found
    _queries(folder / "train" / "queries.tsv", train, unjudged)
    for split in (dev, old):
        _queries(folder / split.name / "queries.tsv", split)
    _queries(folder / new.name / "queries.tsv.gz", new)
    for split in (train, dev):
        judged = zip(split.ids.tolist(), split.positives.tolist(), strict=True)
        (folder / split.name / "qrels").write_text("".join(f"{query}\t0\t{found}\t1\n" for query, found in judged))
    for split in (old, new):
        (folder / split.name / "qrels").write_text("".join(_graded(world, split)))
    (folder / "medmarco.qids").write_text("".join(f"{query}\n" for query in sorted(train.ids[:share].tolist())))
    (folder / "irds_version.txt").write_text("v2")
    return {
        "passages": world.passages,
        "words a passage": words / world.passages,
        "training queries": len(train.ids),
        "of them in the share": min(share, len(train.ids)),
        "words a query": sum(len(text.split()) for text in train.texts) / len(train.texts),
        "dev queries": len(dev.ids),
    }


def _queries(path: Path, *splits: Split) -> None:
    lines = [f"{query}\t{text}" for each in splits for query, text in zip(each.ids.tolist(), each.texts, strict=True)]
    whole = ("\n".join(lines) + "\n").encode()
    path.write_bytes(gzip.compress(whole) if path.suffix == ".gz" else whole)


def _graded(world: World, split: Split) -> Iterator[str]:
    rng = np.random.default_rng([world.seed, 5, len(split.ids)])
    for query, positive in zip(split.ids.tolist(), split.positives.tolist(), strict=True):
        grades = dict.fromkeys(rng.integers(0, world.passages, 130).tolist(), 0)
        same = world.same_topic(rng, positive, 80).tolist()
        grades |= dict(zip(same, rng.choice([0, 1, 2], len(same), p=[0.5, 0.3, 0.2]).tolist(), strict=True))
        grades[positive] = 3
        yield from (f"{query} 0 {document} {grade}\n" for document, grade in grades.items())


def write_scores(folder: Path, world: World, rows: int = 5_000_000) -> int:
    """Write the teacher's raw scores as ``pair/*.parquet``; returns how many pairs there are."""
    folder.mkdir(parents=True, exist_ok=True)
    train = splits(world)[0]
    rng = np.random.default_rng([world.seed, 6])
    queries = max(1, rows // SCORED)
    pairs = 0
    for number, start in enumerate(range(0, len(train.ids), queries)):
        ids, documents, scores = [], [], []
        for query, positive in zip(
            train.ids[start : start + queries].tolist(), train.positives[start : start + queries].tolist(), strict=True
        ):
            same = world.same_topic(rng, positive, OF_TOPIC)
            others = rng.integers(0, world.passages, SCORED - 1 - len(same))
            found, places = np.unique(np.concatenate([[positive], same, others]), return_index=True)
            means = np.concatenate([[8.0], np.zeros(len(same)), np.full(len(others), -8.0)])[places]
            ids.append(np.full(len(found), query))
            documents.append(found)
            scores.append(np.clip(rng.normal(means, 2.0), -11.5, 11.5))
        columns = {"query_id": ids, "corpus_id": documents, "score": scores}
        table = pa.table({name: np.concatenate(column) for name, column in columns.items()})
        pq.write_table(table, folder / f"train-{number:05d}.parquet")
        pairs += len(table)
    return pairs


def write_beir(home: Path, seed: int, part: float) -> int:
    """Write the sets of BEIR at a part of their size as the archives they come in; returns all their documents."""
    total = 0
    for number, (name, (documents, queries)) in enumerate(BEIR.items()):
        small = World(max(150, round(documents * part)), max(5, round(queries * min(1.0, part * 10))), seed + number)
        _archive(home / "beir" / name / "source.zip", name.partition("/")[0], small)
        total += small.passages
    return total


def _archive(path: Path, inner: str, world: World) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([world.seed, 7])
    positives = rng.choice(world.passages, world.queries, replace=world.queries > world.passages)
    more = dict.fromkeys(("url", "pubmed_id", "stance", "query", "narrative", "description"), "")
    lists: dict[str, Any] = {"authors": [], "year": 2020, "cited_by": [], "references": []}
    documents, asked = [], {}
    for first, texts in world.blocks():
        strings = texts.strings(world.names).to_pylist()
        documents += [{"_id": f"d{first + place}", "title": "", "text": text} for place, text in enumerate(strings)]
        here = np.flatnonzero((positives >= first) & (positives < first + len(strings)))
        asked |= dict(
            zip(
                here.tolist(),
                world.asked(positives[here], first, texts, 0).strings(world.names).to_pylist(),
                strict=True,
            )
        )
    queries = [{"_id": f"q{place}", "text": asked[place]} for place in range(world.queries)]
    judged = "".join(f"q{place}\td{positive}\t1\n" for place, positive in enumerate(positives.tolist()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, records in (("corpus", documents), ("queries", queries)):
            whole = "".join(json.dumps({**each, "metadata": {**more, **lists}}) + "\n" for each in records)
            archive.writestr(f"{inner}/{name}.jsonl", whole)
        for split in ("test", "dev", "train"):
            archive.writestr(f"{inner}/qrels/{split}.tsv", f"query-id\tcorpus-id\tscore\n{judged}")


def write_checkpoints(folder: Path, world: World, names: Sequence[str] = CHECKPOINTS) -> None:
    """Write masked language models of one layer, in which a passage has some ``ACTIVE`` words for SPLADE."""
    import shutil

    import torch
    from transformers import BertConfig, BertForMaskedLM

    from limbeck.backbones import mlm
    from limbeck.backbones.sources import load_tokenizer
    from limbeck.students.splade import Splade
    from limbeck.text.collate import Collator
    from limbeck.text.tokenizer import train_wordpiece

    texts = world.block(0).strings(world.names)[:20_000].to_pylist()
    place = folder / names[0]
    train_wordpiece(texts, PIECES, place)
    tokenizer = load_tokenizer(str(place))
    torch.manual_seed(world.seed)
    config = BertConfig(
        vocab_size=len(tokenizer.tokenizer), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=4 * WIDTH, max_position_embeddings=512, pad_token_id=tokenizer.pad_id,
    )  # fmt: skip
    model = BertForMaskedLM(config)
    mlm.start_near_identity(model)
    _set_active(Splade(lambda task: model), Collator, tokenizer, texts[:256])
    model.save_pretrained(place)
    for name in names[1:]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(place, folder / name)


def _set_active(student: Any, collator: Any, tokenizer: Any, texts: Sequence[str]) -> None:
    """Move the bias of the head so that a passage weighs ``ACTIVE`` words in the median."""
    from limbeck.inference import encode

    known = {str(place): text for place, text in enumerate(texts)}
    read = collator(tokenizer, student.style, lambda ids: [], lambda ids: [known[name] for name in ids])
    bias = student.backbone.get_output_embeddings().bias
    bias.data += 50.0
    logits = encode(student.eval(), read, list(known), "document").take(slice(None)).expm1()
    bias.data -= logits.topk(ACTIVE, dim=1).values[:, -1].median()
