"""``limbeck inspect``: what train would use, looked at; and bare TREC files."""

import json
import re

import numpy as np
import pyarrow as pa
import pytest
from omegaconf import OmegaConf

from limbeck.inspection.findings import settings

RUN = "q1 Q0 a 1 9 t\nq1 Q0 b 2 7 t\nq1 Q0 c 3 2 t\nq2 Q0 a 1 4 t\nq2 Q0 d 2 3 t\n"
PERMUTED = "q1 Q0 c 1 1.5 t\nq1 Q0 b 2 1.25 t\nq1 Q0 a 3 1 t\nq2 Q0 a 1 3 t\nq2 Q0 d 2 1 t\n"
FIRST = "q1 Q0 c 1 1.5 t\nq1 Q0 a 2 1.25 t\nq1 Q0 b 3 1 t\nq2 Q0 d 1 3 t\nq2 Q0 e 2 1 t\n"


def report(path):
    return json.loads((path / "inspect" / "inspect.json").read_text())


@pytest.fixture
def files(tmp_path):
    (tmp_path / "run.trec").write_text(RUN)
    (tmp_path / "first.trec").write_text(FIRST)
    (tmp_path / "qrels.txt").write_text("q1 0 a 2\nq1 0 b 1\nq2 0 d 1\n")
    return ["run=run.trec", "qrels=qrels.txt"]


def test_it_looks_at_what_train_trains_on(limbeck, tmp_path, cache):
    words = ["loss=[kl,margin_mse]", "loss.kl.teacher_temperature=2", "pool.random_documents=3", "teacher.noise=0.4"]
    status, out, err = limbeck("inspect", *words)
    assert status == 0, err
    made = report(tmp_path)
    assert made["findings"] == []
    assert "the checks found nothing" in out
    assert made["source"]["losses"] == "kl, margin_mse"
    before = set((cache / "aligned").rglob("scores.arrow"))
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    assert set((cache / "aligned").rglob("scores.arrow")) == before  # train reuses the very scores
    by_size = {}
    for path in before:
        with pa.memory_map(str(path)) as source:
            scores = pa.ipc.open_file(source).read_all()["score"].to_numpy()
        by_size.setdefault(len(scores), []).append(float(np.median(scores)))
    figures = made["figures"]
    assert figures["queries"] == 60
    assert figures["scores"]["median"] in by_size[figures["pairs"]]
    assert figures["missing"]["pairs"] == 0
    assert figures["entropy"]["configured"]["kl"]["temperature"] == 2.0
    assert f"{figures['entropy']['configured']['kl']['median_entropy']:.3f}" in out
    for name in ("inspect.html", "spread.png", "entropy.png", "positives.png", "overlap.png", "missing.png"):
        assert (tmp_path / "inspect" / name).stat().st_size > 1000


def test_a_trap_is_told_with_its_remedy_and_can_be_turned_off(limbeck, compose, tmp_path):
    words = ["loss=kl", "teacher.scale=0.01", "teacher.noise=0.001"]
    status, out, _ = limbeck("inspect", *words)
    assert status == 0
    (finding,) = report(tmp_path)["findings"]
    assert finding["name"] == "near_flat"
    assert "warning: near_flat" in out
    assert finding["remedy"].split(" ")[0] in out  # and it mends: inspection/test_checks.py
    words = ["checks.ignore=[near_flat]", "checks.near_flat.entropy=1"]
    chosen = settings(OmegaConf.to_container(compose("inspect", *words).checks))
    assert chosen["ignore"] == ["near_flat"]
    assert chosen["thresholds"]["near_flat"]["entropy"] == 1  # what both do: inspection/test_checks.py


def test_mistakes_are_answered(limbeck, files):
    for words, message in (
        (["checks.ignore=[near_flatt]"], "checks.ignore: 'near_flatt' is no check; did you mean near_flat?"),
        (["checks.near_flat.entropi=1"], "did you mean entropy?"),
        (["checks.near_flt.entropy=1"], "did you mean near_flat"),
        (["+checks.near_flat.entropi=1"], "checks.near_flat.entropi is no key"),
        (["teacher=none", "loss=info_nce"], "teacher is none"),
        ([files[0]], "qrels must be given with run"),
        ([files[0], "qrels=absent.txt"], "qrels: there is no file absent.txt"),
        (["run=absent.trec", files[1]], "run: there is no file absent.trec"),
        (["run=qrels.txt", files[1]], "run: qrels.txt:1: expected six columns"),
        (["-m", "loss=kl,ckl"], "one report"),
        (["+nonsense=1"], "nonsense is no key"),
    ):
        status, _, err = limbeck("inspect", *words)
        assert status == 2, (words, err)
        assert message in err, (words, err)


def test_a_bare_run(limbeck, tmp_path, files):
    words = ["pool.relevant=2", "checks.ignore=[missing_scores]"]
    status, _, err = limbeck("inspect", *files, *words)
    assert status == 0, err
    made = report(tmp_path)
    assert made["ignored"] == ["missing_scores"]
    assert made["figures"]["queries"] == 1
    assert made["figures"]["pairs"] == 3
    assert made["figures"]["agreement"]["spearman"] is None
    assert "1 queries have a list but no positive" in err
    assert not (tmp_path / "inspect" / "overlap.png").exists()


def test_a_bare_run_over_a_first_stage(limbeck, tmp_path, files):
    (tmp_path / "run.trec").write_text(PERMUTED)
    status, out, err = limbeck("inspect", *files, "first_stage=first.trec")
    assert status == 0, err
    made = report(tmp_path)
    assert made["figures"]["pairs"] == 5
    assert made["figures"]["positives"]["first_by_teacher"] == 0.5
    assert made["figures"]["missing"]["pairs"] == 1
    findings = {finding["name"]: finding["message"] for finding in made["findings"]}
    assert "1 of 5 pairs (20%)" in findings["missing_scores"]
    assert "permuted_scores" in findings
    assert "error: permuted_scores" in out
    assert "query 'q2', document 'e'" in out
    assert {item["query"] for item in made["hardest"]} == {"q1", "q2"}


def test_a_score_store_and_its_provenance(limbeck, tmp_path):
    from limbeck.scores.parts import Block
    from limbeck.scores.writer import Provenance, write_store

    queries, documents = [f"x{i}" for i in range(3)], ["a", "b", "c"]
    whose = Provenance("someone", "probability", collection="elsewhere", command="by hand")
    block = Block(pa.array(queries), pa.array(documents), np.array([0.1, 0.2, 0.3], dtype=np.float32))
    write_store(tmp_path / "store", [lambda: block], whose)
    status, out, err = limbeck("inspect", "teacher=store", "teacher.path=store", "loss=margin_mse")
    assert status == 0, err
    made = report(tmp_path)
    assert made["source"]["teacher"] == "someone"
    assert made["meta"]["kind"] == "probability"
    assert re.search(r"kind of number +probability ", out)
    assert {finding["name"] for finding in made["findings"]} == {"fingerprint_differs", "missing_scores"}
    pairs = made["figures"]["pairs"]
    assert pairs > 0
    assert f"{pairs:,} of {pairs:,} pairs (100%)" in out
