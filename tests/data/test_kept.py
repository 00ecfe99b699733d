"""What is kept depends on what it was built from, and on nothing else of a collection."""

import numpy as np
import pytest
import torch

from limbeck.artefacts import Artefacts
from limbeck.data.candidates import Search, find
from limbeck.data.opening import Data
from limbeck.data.pooling import Pooling
from limbeck.evaluation.fusion import ReciprocalRankFusion
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble
from limbeck.experiment.stages import Stages

CPU = torch.device("cpu")
TINY = {"_target_": "backbone/tiny", "vocab_size": 300, "width": 16, "layers": 1, "heads": 2, "untrained": True}
MODEL = {"student": {"_target_": "student/dense", "query_length": 8, "document_length": 12}, "backbone": TINY}
KINDS = (
    "ids", "documents", "tokenizer", "tokens", "bm25", "embeddings", "candidates", "pool", "scores", "aligned",
    "teacher_runs",
)  # fmt: skip


def judge(folder, name, judged):
    lines = "".join(f"{query}\t{document}\t1\n" for query, document in judged)
    (folder / "qrels" / f"{name}.tsv").write_text(f"query-id\tcorpus-id\tscore\n{lines}")


def work(folder, cache):
    """Build one of each artefact that is built from a folder, and return the names they get."""
    artefacts = Artefacts(cache)
    torch.manual_seed(1)
    collection = Data(collection=str(folder), train="train", dev=None, test=None).open(artefacts)
    bm25 = assemble.candidates({"_target_": "candidates/bm25", "stopwords": None}, CPU)
    find(assemble.candidates({"_target_": "candidates/dense", **MODEL}, CPU), Search(collection, "train", artefacts))
    torch.manual_seed(1)
    teaching = assemble.teaching({"_target_": "teacher/ranker", **MODEL}, collection, artefacts, CPU)
    Stages(collection, artefacts, bm25, Pooling()).pool(teaching)
    teaching.stores({"q1": ["d5"]})
    evaluation = Evaluation(ReciprocalRankFusion())
    teaching.search(evaluation, list(collection.split("train").queries), lambda _: {})
    return {kind: {path.name for path in (artefacts.root / kind).iterdir() if path.is_dir()} for kind in KINDS}


@pytest.fixture(scope="module")
def worked(tmp_path_factory):
    """The artefacts of a folder, and those of the same folder with two files of judgments, and a query, more."""
    folder = tmp_path_factory.mktemp("beir")
    (folder / "qrels").mkdir()
    rng = np.random.default_rng(0)
    (folder / "corpus.jsonl").write_text(
        "".join(
            f'{{"_id": "d{i}", "text": "{" ".join(rng.choice([f"w{k}" for k in range(20)], 6))}"}}\n' for i in range(20)
        )
    )
    (folder / "queries.jsonl").write_text('{"_id": "q1", "text": "w1 w2"}\n{"_id": "q2", "text": "w3"}\n')
    judge(folder, "train", [("q1", "d1"), ("q2", "d2")])
    found = {"before": work(folder, tmp_path_factory.mktemp("cache"))}
    judge(folder, "dl19", [("q1", "d3")])
    judge(folder, "dl20", [("q2", "d4")])
    found["judgments"] = work(folder, tmp_path_factory.mktemp("cache"))
    with (folder / "queries.jsonl").open("a") as file:
        file.write('{"_id": "q3", "text": "w4"}\n')
    judge(folder, "more", [("q3", "d3")])
    found["queries"] = work(folder, tmp_path_factory.mktemp("cache"))
    judge(folder, "train", [("q1", "d3"), ("q2", "d2")])
    found["own judgments"] = work(folder, tmp_path_factory.mktemp("cache"))
    return found


@pytest.mark.parametrize("more", ["judgments", "queries"])
@pytest.mark.parametrize("kind", KINDS)
def test_more_judgments_and_queries_leave_what_does_not_depend_on_them(worked, kind, more):
    if (kind, more) == ("scores", "queries"):
        pytest.skip("a store holds scores of any query: where texts of queries change, it cannot be gone on with")
    assert worked["before"][kind]
    assert worked[more][kind] == worked["before"][kind]


def test_a_pool_depends_on_its_own_judgments(worked):
    assert worked["own judgments"]["pool"] != worked["before"]["pool"]
    assert worked["own judgments"]["candidates"] == worked["before"]["candidates"]
