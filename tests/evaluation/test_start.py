"""What a student ranks before it is trained is found once for all runs that begin with its weights."""

import numpy as np
import pytest
import torch

from limbeck.data.opening import Data
from limbeck.evaluation.fusion import ReciprocalRankFusion
from limbeck.evaluation.settings import Evaluation
from limbeck.experiment import assemble
from limbeck.experiment.engine import Engine
from limbeck.experiment.sharing import Sharing
from limbeck.experiment.start import Start
from limbeck.rankings import Ranking

STUDENT = {"_target_": "student/dense", "query_length": 8, "document_length": 12}
TINY = {"_target_": "backbone/tiny", "vocab_size": 300, "width": 16, "layers": 1, "heads": 2}
CPU = torch.device("cpu")


@pytest.fixture
def collection(folder, artefacts):
    rng = np.random.default_rng(0)
    for name, count in (("corpus", 20), ("queries", 4)):
        texts = [" ".join(rng.choice([f"w{k}" for k in range(30)], 6)) for _ in range(count)]
        lines = (f'{{"_id": "{name[0]}{i}", "text": "{text}"}}\n' for i, text in enumerate(texts))
        (folder / f"{name}.jsonl").write_text("".join(lines))
    (folder / "qrels" / "test.tsv").write_text(
        "query-id\tcorpus-id\tscore\n" + "".join(f"q{i}\tc{i}\t1\n" for i in range(4))
    )
    return Data(collection=str(folder), train=None, dev=None, test="test").open(artefacts)


@pytest.fixture
def saved(collection, artefacts, tmp_path):
    """Nodes of a student that lies in a folder."""
    torch.manual_seed(1)
    model, collator = assemble.ranker(STUDENT, TINY, collection, artefacts, anew=True)
    assemble.save(model, collator.tokenizer, tmp_path / "student", STUDENT, "1")
    return {"student": STUDENT, "backbone": {"_target_": "backbone/pretrained", "model": str(tmp_path / "student")}}


@pytest.fixture
def counted(monkeypatch):
    """Count searches and re-rankings that are really made."""
    made = []
    for name in ("search_together", "rerank"):
        whole = getattr(Engine, name)
        monkeypatch.setattr(Engine, name, lambda *given, name=name, whole=whole: made.append(name) or whole(*given))
    return made


@pytest.fixture
def begun(collection, artefacts, tmp_path):
    """Build a student anew, as a run does, and return how it ranks."""

    def call(nodes, seed=1, **options):
        torch.manual_seed(seed)
        evaluation = Evaluation(ReciprocalRankFusion(), **options)
        model, collator = assemble.ranker(nodes["student"], nodes["backbone"], collection, artefacts, anew=True)
        sharing = Sharing(1, {}, artefacts.root, "cpu", tmp_path)
        return Start(nodes, collection, artefacts), Engine(
            model, collator, collection, evaluation, CPU, nodes, sharing
        )  # fmt: skip

    return call


def test_a_second_run_finds_what_the_first_has_ranked(begun, saved, counted):
    found = []
    for _ in range(2):
        start, engine = begun(saved)
        searched = start.search(engine, ["q0", "q1"])
        candidates = {"q0": Ranking(["c3", "c1", "c2"], [3.0, 2.0, 1.0])}
        found.append((searched, start.rerank(engine, candidates)))
        assert counted == ["search_together", "rerank"]
    (searched, reranked), again = found
    engine = begun(saved)[1]
    for run, other, plain in (
        (searched, again[0], engine.search(["q0", "q1"])),
        (reranked, again[1], engine.rerank(candidates)),
    ):
        assert set(run) == set(plain)
        for query in plain:
            assert list(run[query].ids) == list(other[query].ids) == list(plain[query].ids)
            assert list(run[query].scores) == list(plain[query].scores)


def test_other_queries_depths_weights_and_candidates_are_ranked_anew(begun, saved, counted, tmp_path):
    def rank(nodes=saved, queries=("q0", "q1"), others=("c1", "c2"), **options):
        start, engine = begun(nodes, **options)
        start.search(engine, list(queries))
        start.rerank(engine, {"q0": Ranking(list(others), [2.0, 1.0])})
        made, counted[:] = list(counted), []
        return made

    both = ["search_together", "rerank"]
    assert rank() == both
    assert rank() == []
    assert rank(queries=("q0", "q2")) == ["search_together"]
    assert rank(search_depth=7) == ["search_together"]
    assert rank(others=("c2", "c1")) == ["rerank"]
    assert rank(bf16=True) == both
    assert rank({**saved, "student": {**STUDENT, "document_length": 4}}) == both
    model, collator = begun(saved)[1].ranker, begun(saved)[1]._collator
    next(iter(model.parameters())).data.add_(0.5)
    assemble.save(model, collator.tokenizer, tmp_path / "student", STUDENT, "1")
    assert rank() == both


def test_weights_that_the_seed_gives_are_kept_by_no_run(begun, counted, artefacts):
    nodes = {"student": STUDENT, "backbone": TINY}
    for _ in range(2):
        start, engine = begun(nodes)
        assert not start.shared
        start.search(engine, ["q0"])
    assert counted == ["search_together"] * 2
    assert not (artefacts.root / "start_runs").exists()
