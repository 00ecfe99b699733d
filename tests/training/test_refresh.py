"""Ranks renewed by the student: what they are, and when they reach the loss."""

import json

import torch
from safetensors.torch import load_file

from limbeck.inference import score_lists
from limbeck.training.objective import Objective
from limbeck.training.refresh import RankRefresh

SHORT = ("train", "eval.start=false", "eval.teacher=false", "trainer.validate_every=0")
WORDS = (*SHORT, "sampler.refresh_ranks=3")


def weights(tmp_path, name="train"):
    (run,) = (tmp_path / "runs" / name).iterdir()
    return load_file(run / "model" / "model.safetensors")


def test_from_the_third_update_on_the_loss_sees_the_students_own_ranks(limbeck, monkeypatch):
    renewed, seen = [], []
    renew, forward = RankRefresh._renew, Objective.forward

    def watched(self, trainer, module, batch_idx):
        found = renew(self, trainer, module, batch_idx)
        for query, ranks in found.items():
            documents = list(ranks)
            scores = score_lists(module.student, self._data.collator, {query: documents})[query]
            pool = self._data.pool
            assert set(documents) == set(pool.documents(pool.query_ids.index(query)))
            for document, score in zip(documents, scores, strict=True):
                better = sum((s, d) > (score, document) for s, d in zip(scores, documents, strict=True))
                assert ranks[document] == better + 1
        renewed.append((trainer.global_step, found))
        return found

    def noted(self, output, batch):
        seen.append((batch.query_ids, batch.document_ids, batch.ranks.tolist(), batch.mask))
        return forward(self, output, batch)

    monkeypatch.setattr(RankRefresh, "_renew", watched)
    monkeypatch.setattr(Objective, "forward", noted)
    status, _, err = limbeck(*WORDS)
    assert status == 0, err
    assert [step for step, _ in renewed] == [3, 6]
    for step, (queries, documents, ranks, mask) in enumerate(seen):
        window = step // 3
        for row, query in enumerate(queries):
            if window:
                known = renewed[window - 1][1][query]
                assert ranks[row][: len(documents[row])] == [known[document] for document in documents[row]]
            assert all(rank == 1 for rank, real in zip(ranks[row], mask[row], strict=True) if not real)


def test_workers_serve_no_old_ranks(limbeck, tmp_path):
    limbeck(*WORDS, "name=alone")
    status, _, err = limbeck(*WORDS, "name=helped", "sampler.workers=2")
    assert status == 0, err
    limbeck(*SHORT, "name=stored")
    alone, helped, stored = (weights(tmp_path, name) for name in ("alone", "helped", "stored"))
    assert all(torch.equal(alone[name], helped[name]) for name in alone)
    assert not all(torch.equal(alone[name], stored[name]) for name in alone)


def test_diagnostics_and_schedules_reach_the_metrics(limbeck, tmp_path):
    schedule = "{gamma: {kind: linear, start: 2.0, end: 5.0, steps: 4}}"
    status, _, err = limbeck("train", f"loss.ckl.schedules={schedule}")
    assert status == 0, err
    (run,) = (tmp_path / "runs" / "train").iterdir()
    (metrics,) = (run / "metrics").rglob("metrics.csv")
    header = metrics.read_text().splitlines()[0].split(",")
    assert {"diagnostics/negative_ratio", "diagnostics/above_teacher", "diagnostics/positive_by_rank/1"} <= set(header)
    assert json.loads((run / "result.json").read_text())["training"]["steps"] == 8
    status, _, err = limbeck("train", "loss.ckl.schedules={gamma: {kind: linear, start: 0.5, end: 5.0, steps: 4}}")
    assert status == 2
    assert "loss.ckl.schedules.gamma is out of range at step 0" in err


def test_a_student_without_usable_scores_renews_no_ranks(limbeck, monkeypatch):
    """Sorting would put NaN first, and every rank after it would mean nothing."""

    def spoiled(*given, **options):
        found = score_lists(*given, **options)
        next(iter(found.values()))[1] = float("-inf")
        return found

    monkeypatch.setattr("limbeck.training.refresh.score_lists", spoiled)
    status, _, err = limbeck(*WORDS)
    assert status == 2
    assert "sampler.refresh_ranks: the score of document" in err
    assert "is -inf" in err
