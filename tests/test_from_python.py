"""The verbs as functions of Python: overrides, messages and run folders of the command; results; twice in a process."""

import ast
import re
import sys
from pathlib import Path

import pytest

import limbeck
from limbeck.experiment.result import Result, SweepResult
from pages import blocks
from small import SMALL

ROOT = Path(__file__).parents[1]
QUICK = [*SMALL, "trainer.steps=2", "trainer.validate_every=0", "eval.start=false", "eval.teacher=false"]


@pytest.fixture
def words(monkeypatch, tmp_path, cache):
    """Overrides of a run of a second, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return [*QUICK, f"paths.cache={cache}"]


def test_a_run_is_that_of_the_command(words, limbeck, capsys):
    import limbeck as library

    composed = library.compose(*words, "loss=kl")
    assert composed["loss"]["kl"]["_target_"] == "loss/kl"
    assert "student_temperature: 1.0" in str(composed)
    assert not composed.folder.parent.exists()
    argv = list(sys.argv)
    result = library.train(*words, "loss=kl")
    assert sys.argv == argv
    written, _ = capsys.readouterr()
    assert (written, result.folder) == ("", composed.folder)
    status, out, err = limbeck("train", *words, "loss=kl")
    assert (status, "is finished" in err) == (0, True)
    assert str(result) == out.strip("\n")
    assert result.rows[-1]["ndcg@10"] == result.metrics["ndcg@10"]
    assert list(result.to_pandas()["key"]) == ["first_stage", "student"]
    assert "student, distilled" in result._repr_html_()
    assert result.ranker(device="cpu").kind == "dense"
    assert library.train(*words, "loss=kl", "dry_run=true").rows == [
        {"folder": str(result.folder), "state": "finished"}
    ]


def test_a_sweep_and_its_failures(words):
    with pytest.raises(limbeck.FailedError, match=r"^1 of 2 runs failed") as failed:
        limbeck.sweep(*words, "name=s", "student.scale=20,0")
    (run,) = failed.value.result.runs
    assert failed.value.result.failed[0]["overrides"] == ["student.scale=0"]
    grid = [*words, "name=s", "seed=1,2"]
    assert [row["state"] for row in limbeck.sweep(*grid, "dry_run=true").rows] == ["finished", "to run"]
    swept = limbeck.sweep(*grid)
    assert isinstance(swept, SweepResult)
    assert [(row["seed"], row["folder"]) for row in swept.rows] == [
        (seed, str(run.folder)) for seed, run in zip("12", swept.runs, strict=True)
    ]
    assert swept.runs[0].folder == run.folder
    assert swept.best("ndcg@10").metrics["ndcg@10"] == max(run.metrics["ndcg@10"] for run in swept.runs)
    assert "mean over seeds" in str(swept)


def test_the_other_verbs(words, tmp_path):
    run = limbeck.train(*words, "loss=kl", "name=first")
    data = [word for word in words if word.startswith(("data.", "paths."))]
    evaluated = limbeck.evaluate(f"run={run.folder}", words[-1], "moved=0", "baseline=first_stage")
    found = next(row for row in evaluated.rows if row["key"] not in ("first_stage",))
    assert found["ndcg@10"] == pytest.approx(run.metrics["ndcg@10"])
    assert {row["metric"] for row in evaluated.record["comparisons"]} >= {"ndcg@10"}
    assert "against" in str(evaluated)
    mined = limbeck.mine(*data, "splits=[train]", "out=mined")
    assert (mined.rows[0]["split"], mined.folder.name) == ("train", "mined")
    assert "training pool" in str(mined)
    scored = limbeck.score(*data, "out=scores")
    assert scored.record["pairs"] == mined.record["pool"]["pairs"]
    assert f"checksum: {scored.record['checksum']}" in str(scored)
    looked = limbeck.inspect(*data, "teacher=store", "teacher.path=scores", "out=looked", "trainer.accelerator=cpu")
    assert looked.record["findings"] == looked.rows
    assert (tmp_path / "looked" / "inspect.json").is_file()
    assert "entropy" in str(looked)


@pytest.mark.parametrize(
    ("function", "given", "message"),
    [
        ("train", ["loss.ckl.gama=2"], r"^loss\.ckl\.gama is no key of the configuration; did you mean gamma\?"),
        ("train", ["loss.ckl.gamma=-1", "seed=1"], r"^loss\.ckl\.gamma must be >= 0"),
        ("train", ["-m", "loss=kl,ckl"], r"^limbeck\.train takes no -m; for several runs call limbeck\.sweep$"),
        ("train", ["sweeps=quick_losses"], r"^limbeck\.train does one run; for the runs of a sweep call"),
        ("train", ["trainer=ddp_cpu"], r"^trainer\.devices must be 1 in limbeck\.train"),
        ("mine", ["--multirun"], r"^limbeck\.mine takes no --multirun; call it once for each$"),
        ("train", ["--cfg", "job"], r"^--cfg is an option of the command; limbeck\.compose gives"),
        ("train", [{"loss": "kl"}], r"^overrides are texts, as 'loss=kl' and 'seed=1', got \{"),
        ("evaluate", [], "^nothing to evaluate: give run=FOLDER"),
        ("table", [], "^table must be given"),
        ("report", [], r"^name must be given: name=…$"),
    ],
    ids=str,
)
def test_errors_are_exceptions_with_the_message_of_the_command(function, given, message, words):
    with pytest.raises(limbeck.ConfigError, match=message):
        getattr(limbeck, function)(*given)


def test_what_hydra_the_caller_uses_is_left_as_it_was(words):
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    with hydra.initialize(version_base="1.3", config_path=None):
        before = GlobalHydra.instance().hydra
        for seed in (1, 2):
            assert limbeck.compose(*words, f"seed={seed}")["seed"] == seed
        assert GlobalHydra.instance().hydra is before
        assert hydra.compose(overrides=["+a=1"]).a == 1


def test_without_pandas_it_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(limbeck.ConfigError, match=r"^to_pandas\(\) needs pandas"):
        Result([{"a": 1}]).to_pandas()


def test_the_block_of_the_readme_composes(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (words,) = re.findall(r"limbeck\.train\((.*)\)", "".join(text for _, text in blocks(ROOT / "README.md")))
    assert limbeck.compose(*ast.literal_eval(f"[{words}]"))["backbone"]["_target_"] == "backbone/pretrained"
