"""In-batch negatives of a real training: never what the judgments call relevant, whichever query it comes with."""

import importlib
import json

import pytest

MODULE = importlib.import_module("limbeck.losses.info_nce")  # as an attribute of the package it is the function
WORDS = ["train", "loss=info_nce", "loss.info_nce.in_batch=true", "eval.teacher=false", "eval.start=false"]
WORDS += ["sampler.batch_size=16", "trainer.validate_every=0", "pool.positives=1"]


@pytest.fixture
def batches(monkeypatch):
    """What the loss has seen, batch by batch: each query, its in-batch negatives, and all documents of the batch."""
    seen = []
    called = MODULE.other_documents

    def noted(output, batch, **options):
        scores, counts = called(output, batch, **options)
        documents = {}
        for row, names in enumerate(batch.document_ids):
            documents.update(zip(batch.index[row].tolist(), names, strict=False))
        seen.append([
            (query, {documents[row] for row in counts[b].nonzero().flatten().tolist()}, set(documents.values()))
            for b, query in enumerate(batch.query_ids)
        ])  # fmt: skip
        return scores, counts

    monkeypatch.setattr(MODULE, "other_documents", noted)
    return seen


def judgments(cache):
    """All that the judgments of the small world call relevant: the pool holds one of each query."""
    (world,) = (path.parent for path in cache.rglob("qrels/train.tsv") if len(path.read_text().splitlines()) > 60)
    relevant = {}
    for line in (world / "train.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0:
            relevant.setdefault(query, set()).add(document)
    return relevant


@pytest.mark.parametrize(("mask", "workers"), [(True, 0), (True, 1), (False, 0)])
def test_no_negative_is_relevant(limbeck, cache, batches, mask, workers):
    status, _, err = limbeck(*WORDS, f"loss.info_nce.mask_positives={json.dumps(mask)}", f"sampler.workers={workers}")
    assert status == 0, err
    relevant = judgments(cache)
    queries = [each for batch in batches for each in batch]
    assert len(queries) == 8 * 16
    borders = sum(len({query for query, *_ in batch}) < len(batch) for batch in batches)
    assert borders, "no batch over the border of two epochs holds a query twice"
    wrong = [query for query, counted, _ in queries if counted & relevant[query]]
    touched = [query for query, _, there in queries if len(there & relevant[query]) > 1]
    assert len(touched) > 20
    assert not wrong if mask else len(wrong) > 20
