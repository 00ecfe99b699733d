"""The one place for names: every registered loss and every metric has one, and what is not known stays as it is."""

import pytest

from limbeck import labels
from limbeck.config import entries
from limbeck.evaluation.spelling import NAMES


def test_every_loss_every_metric_and_every_student_has_a_name():
    registered = {name for kind, name in entries() if kind == "loss"}
    assert registered <= set(labels.LOSSES)
    assert {name for kind, name in entries() if kind == "student"} - {"saved"} == set(labels.PARTS)
    unwritten = [name for name in NAMES if labels.metric(f"{name}@7") == f"{name}@7" and name not in ("bpref", "rbp")]
    assert unwritten == []


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("kl", "KL"),
        ("ckl loss.ckl.gamma=2.0 loss.ckl.alpha=1.5 loss.ckl.weight=2", "CKL γ=2 α=1.5 weight=2"),
        ("splade margin_mse+flops sampler.negatives=7", "SPLADE MarginMSE + FLOPS negatives=7"),
        ("nfcorpus: colbert kl+my_loss", "NFCorpus: ColBERT KL + my_loss"),
        ("kl+ckl loss.kl.weight=0.1 loss.ckl.gamma=2", "KL + CKL KL weight=0.1 CKL γ=2"),
        ("a sentence of somebody's own, model=/x/y", "a sentence of somebody's own, model=/x/y"),
        ("", ""),
    ],
)
def test_configurations_are_written_as_people_write_them(name, shown):
    assert labels.configuration(name) == shown


def test_a_run_is_named_by_what_was_set_for_it():
    overrides = ["loss=[ckl]", "loss.ckl.gamma=2", "+student.scale=20", "data.collection=/x/y/nfcorpus", "~teacher"]
    named = labels.of_run(["ckl"], [*overrides, "name=grid", "paths.runs=/secret", "logger=wandb", "seed=3"], 3)
    assert named == "ckl γ=2 student.scale=20 data.collection=nfcorpus seed=3"
    assert labels.of_run(["kl", "info_nce"], [], 1) == "kl+info_nce seed=1"
    typed = ["limbeck", "train", "-m", "loss=kl,ckl", "sampler.negatives=3,7", "loss.ckl.gamma=2", "trainer.steps=9"]
    job = ["loss=ckl", "sampler.negatives=7", "loss.ckl.gamma=2", "trainer.steps=9"]
    assert labels.of_run(["ckl"], job, 1, [*typed, "optim.lr=1e-3"]) == "ckl negatives=7 γ=2 seed=1"
    assert labels.of_run(["ckl"], [*job, "optim.lr=1e-3"], 1, ["x", *job, "optim.lr=1e-3"]) == (
        "ckl negatives=7 γ=2 learning rate=1e-3 seed=1"
    )
