import math

import numpy as np
import pytest
import Stemmer

from limbeck.data.bm25 import BM25
from limbeck.data.candidates import Search
from limbeck.data.collection import Data
from limbeck.evaluation.metrics import evaluate, means


def ask(folder, text):
    (folder / "queries.jsonl").write_text(f'{{"_id": "q", "text": "{text}"}}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t2\n")


def test_scores_equal_the_formula(folder, artefacts):
    ask(folder, "cats fish")
    found = Data(collection=str(folder), train=None, dev=None).open(artefacts)
    run = BM25(stemmer=None, stopwords=None, k1=0.9, b=0.4).search(Search(found, "test", artefacts))
    documents = {name: text.lower().split() for name, text in found.iterate()}
    mean = sum(map(len, documents.values())) / len(documents)
    expected = {}
    for name, words in documents.items():
        score = 0.0
        for term in ("cats", "fish"):
            containing = sum(term in other for other in documents.values())
            idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            frequency = words.count(term)
            score += idf * frequency / (frequency + 0.9 * (1 - 0.4 + 0.4 * len(words) / mean))
        if score:
            expected[name] = score
    assert set(run["q"].ids) == set(expected) == {"d1", "d 3"}  # d2 shares no word and is not listed
    np.testing.assert_allclose(run["q"].scores, sorted(expected.values(), reverse=True), rtol=1e-5)


def test_depth_cuts_and_ties_break_by_document_id(folder, artefacts):
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "d{i}", "text": "same words"}}\n' for i in range(5)))
    ask(folder, "words")
    found = Data(collection=str(folder), train=None, dev=None).open(artefacts)
    assert BM25(depth=3).search(Search(found, "test", artefacts))["q"].ids == ["d4", "d3", "d2"]


def test_the_query_itself_is_dropped_before_the_cut(folder, artefacts):
    """ArguAna: every query is a document of the collection."""
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "{i}", "text": "same words"}}\n' for i in "pqrs"))
    ask(folder, "words")
    for drop_self, expected in ((False, ["s", "r", "q"]), (True, ["s", "r", "p"])):
        data = Data(collection=str(folder), train=None, dev=None, drop_self=drop_self)
        assert BM25(depth=3).search(Search(data.open(artefacts), "test", artefacts))["q"].ids == expected


@pytest.mark.parametrize(("name", "expected"), [("nfcorpus", 0.318), ("scifact", 0.676), ("cranfield", 0.343)])
def test_known_effectiveness_on_real_collections(shared, artefacts, name, expected):
    found = Data(collection=str(shared / name), train=None, dev=None).open(artefacts)
    split = found.split("test")
    run = BM25().search(Search(found, "test", artefacts))
    value = means(evaluate(split.qrels, run, ["ndcg@10"]))["ndcg@10"]
    assert value == pytest.approx(expected, abs=0.005)


def test_options_out_of_range():
    for options, message in [
        ({"depth": 0}, "depth"),
        ({"k1": -1.0}, "k1"),
        ({"b": 1.5}, "b must"),
        ({"stemmer": "x"}, "stemmer"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            BM25(**options)
    assert "english" in Stemmer.algorithms()
