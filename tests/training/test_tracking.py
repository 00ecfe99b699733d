"""Weights & Biases, offline: what the files of a run hold, read back."""

import importlib
import json
import os
import signal
import struct
import time
from collections import defaultdict
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch

from limbeck.secrecy import without_secrets
from limbeck.training import wandb_files
from limbeck.training.lightning_loggers import Lightning, TensorBoard
from limbeck.training.tracking import summary
from limbeck.training.wandb_names import identify, tags
from limbeck.training.wandb_run import Curves, WandB

WANDB = ["logger=wandb", "trainer.log_every=1"]


class Recorded:
    """One offline folder of a W&B run."""

    def __init__(self, file: Path) -> None:
        self.folder = next(parent for parent in file.parents if (parent / "config.yaml").exists())
        self.config: dict = {}
        self.summary: dict = {}
        self.artefacts: dict = {}
        self.kinds = defaultdict(int)
        self.best: dict = {}
        self.uploads: list[Path] = []
        self.named: dict = {}
        self.exit = None
        for record in wandb_files.records(file):
            self.kinds[record.WhichOneof("record_type")] += 1
            if record.HasField("run"):
                self.run = record.run
                note(self.config, record.run.config.update)
            if record.HasField("config"):
                note(self.config, record.config.update)
            if record.HasField("summary"):
                note(self.summary, record.summary.update)
            if record.HasField("artifact"):
                self.artefacts[record.artifact.type] = record.artifact
                self.named[record.artifact.name] = record.artifact
            if record.HasField("metric") and record.metric.glob_name:
                kinds = [kind for kind in ("min", "max", "last") if getattr(record.metric.summary, kind)]
                self.best[record.metric.glob_name] = sorted(kinds, key="max min last".index)
            if record.HasField("files"):
                found = [file.parent / "files" / each.path for each in record.files.files]
                self.uploads += [path for path in found if path.parent.name == "files"]
            if record.HasField("exit"):
                self.exit = record.exit.exit_code
        self.history = dict(wandb_files.history(file))
        self.steps = [step for step, _ in wandb_files.history(file)]

    def contents(self, kind: str) -> dict[str, Path]:
        return {entry.path: Path(entry.local_path) for entry in self.artefacts[kind].manifest.contents}

    def tables(self) -> dict[str, Path]:
        """Tables of the history by their names."""
        found = [artefact for artefact in self.named.values() if artefact.type == "run_table"]
        entries = [entry for artefact in found for entry in artefact.manifest.contents]
        return {entry.path.removesuffix(".table.json"): Path(entry.local_path) for entry in entries}


def note(target, items):
    for item in items:
        target[item.key or "/".join(item.nested_key)] = json.loads(item.value_json)


def recorded(path: Path, name: str, finished: int | None = None) -> list[Recorded]:
    """Read the runs; those that this process has finished, once W&B's own process has written the end of them."""
    files = sorted((path / "runs" / name).rglob("run-*.wandb"))
    for file in files[-(finished or len(files)) :]:
        await_end(file)
    return [Recorded(file) for file in files]


def await_end(file: Path) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not any(record.HasField("exit") for record in wandb_files.records(file)):
        time.sleep(0.05)


def test_each_job_of_a_sweep_is_a_run_with_all_that_was_found(limbeck, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "k" * 20 + "hunter2" + "k" * 13)
    monkeypatch.setenv("HF_TOKEN", "hf_hunter2hunter2")
    losses = "loss=kl,[ckl,info_nce]"
    status, _, err = limbeck("train", "-m", losses, *WANDB, "logger.tags=[first try]", "name=tracked")
    assert status == 0, err
    runs = recorded(tmp_path, "tracked")
    assert len(runs) == 2
    for one in runs:
        assert one.run.run_id == f"tracked-{one.folder.name}"
        assert one.run.display_name == f"{'+'.join(one.config['loss'])} seed=1"
        env = json.loads((one.folder / "env.json").read_text())
        assert (one.config["commit"], one.config["versions"]) == (env["commit"], env["versions"])
        assert one.best == {"dev/*": ["max", "last"], "train/*": ["min", "last"]}
        assert [path.name for path in one.uploads] == ["env.json"]
        assert json.loads(one.uploads[0].read_text()) == env
        assert (one.run.run_group, one.run.job_type, one.run.project) == ("tracked", "train", "limbeck")
        told = {"student:dense", "collection:synthetic", "teacher:synthetic", "first try"}
        assert set(one.run.tags) == told | {f"loss:{term}" for term in one.config["loss"]}
        assert one.config["run_id"] == one.folder.name
        assert one.config["data"]["world"]["documents"] == 200
        assert one.exit == 0
        assert not one.run.host
        assert not any(one.kinds[kind] for kind in ("stats", "output", "output_raw", "environment"))
        assert one.steps == [*range(8), 8]
        for step in range(8):
            assert {f"train/{term}" for term in one.config["loss"]} <= set(one.history[step])
            assert ("dev/ndcg@10" in one.history[step]) == (step in (3, 7))
        rows = json.loads((one.folder / "result.json").read_text())["rows"]
        for row in rows:
            place = "test" if row["key"] == "student" else row["key"]
            assert one.summary[f"{place}/ndcg@10"] == pytest.approx(row["ndcg@10"])
        assert {"train/learning_rate", "train/gradient_norm"} <= set(one.history[7])
        assert not [name for row in one.history.values() for name in row if "_by_rank/" in name]
        tables = {name: json.loads(path.read_text()) for name, path in one.tables().items()}
        assert_same(tables["results"], rows)
        ranked = tables["diagnostics/by_rank"]
        assert ranked["columns"] == ["step", "quantity", "rank", "value"]
        assert {row[0] for row in ranked["data"]} == set(range(8))
        assert {"positive_by_rank", "negative_by_rank"} <= {row[1] for row in ranked["data"]}
        assert min(row[2] for row in ranked["data"]) == 1
    terms = [set(one.config["loss"]) for one in runs]
    assert sorted(terms, key=len) == [{"kl"}, {"ckl", "info_nce"}]
    for path in (tmp_path / "runs").rglob("*"):
        assert path.is_dir() or b"hunter2" not in path.read_bytes(), path


def assert_same(table, rows):
    assert table["columns"] == list(rows[0])
    for found, row in zip(table["data"], rows, strict=True):
        assert found == pytest.approx(list(row.values()))


def test_values_per_query_and_figures_are_artefacts_and_lie_in_the_run_folder(limbeck, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where W&B would put them
    words = [*WANDB, "logger.log_runs=true", "logger.log_model=true", "logger.job_type=tune", "name=kept"]
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    assert f"wandb sync {next(tmp_path.glob('runs/kept/*/wandb/offline-run-*'))}" in err
    (one,) = recorded(tmp_path, "kept")
    assert one.run.job_type == "tune"
    contents = one.contents("evaluation")
    systems = ("first_stage", "start", "student", "teacher")
    runs = {f"runs/test.{system}.trec" for system in systems}
    assert set(contents) == {"per_query/test.table.json", "figures/test.against_teacher.png"} | runs
    for path in [*contents.values(), *one.tables().values()]:
        assert path.is_absolute()
        assert path.is_relative_to(one.folder)
    assert contents["figures/test.against_teacher.png"].read_bytes().startswith(b"\x89PNG")
    table = json.loads(contents["per_query/test.table.json"].read_text())
    assert table["columns"] == ["query_id", *(f"{system} ndcg@10" for system in systems)]
    student = pq.read_table(one.folder / "per_query" / "test.student.parquet").to_pydict()
    assert {row[0]: row[3] for row in table["data"]} == dict(zip(student["query_id"], student["ndcg@10"], strict=True))
    assert "figures/test.against_teacher/path" in one.history[8]
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").rglob("staging/*"))
    assert "WANDB_DATA_DIR" not in os.environ
    model = one.contents("model")
    assert model["limbeck.json"].read_bytes() == (one.folder / "model" / "limbeck.json").read_bytes()
    assert any(name.endswith(".safetensors") for name in model)
    status, _, err = limbeck(
        "evaluate", f"run={one.folder}", "logger=wandb", "eval.search_depth=10", "name=looked", small=False
    )
    assert status == 0, err
    (looked,) = recorded(tmp_path, "looked")
    assert (looked.run.job_type, looked.run.display_name) == (
        "evaluate",
        "evaluate",
    )
    found = json.loads((looked.folder / "result.json").read_text())["sets"]
    (group, rows), *_ = [(group, each["rows"]) for group, each in found.items()]
    for row in rows:
        assert looked.summary[f"{group}/{row['key']}/ndcg@10"] == pytest.approx(row["ndcg@10"])


def test_run_files_are_kept_only_if_asked_for_and_a_failure_ends_the_run(limbeck, tmp_path, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("the disk is full")

    with monkeypatch.context() as patched:
        patched.setattr("limbeck.experiment.engine.search_together", broken)
        assert limbeck("train", *WANDB, "name=mended", "eval.start=false")[0] == 1
    (failed,) = recorded(tmp_path, "mended")
    assert failed.exit == 1
    assert failed.steps == list(range(8))  # the curves are there, the table is not
    assert not failed.artefacts
    time.sleep(1.1)  # folders of W&B's are named by the second
    status, _, err = limbeck("train", *WANDB, "name=mended", "eval.start=false")
    assert status == 0, err
    _, mended = recorded(tmp_path, "mended")
    assert mended.run.run_id == failed.run.run_id
    assert mended.exit == 0
    assert mended.steps == [8]  # trained it was: what is new is the table
    assert not [name for name in mended.contents("evaluation") if name.startswith("runs/")]


@pytest.mark.slow
def test_a_killed_run_goes_on_as_the_same_wandb_run(limbeck, forked, tmp_path, cache, small):
    words = [*WANDB, "name=killed", "trainer.steps=40", "trainer.validate_every=0", "eval.start=false"]
    words += ["trainer.checkpoint_every=20"]
    command = ["train", *small, f"paths.cache={cache}", *words]

    def own_service():
        os.environ.pop("WANDB_SERVICE", None)  # not ours

    importlib.import_module("wandb")  # here once, not in each process
    # Stopped amid steps that will be made again, until W&B's own process has written some of them; then killed.
    started = forked.start(command, tmp_path, first=own_service, kill=[("forward", 30, signal.SIGSTOP)])
    _, how = os.waitpid(started, os.WUNTRACED)
    assert os.WIFSTOPPED(how), (tmp_path / "output").read_text()
    (file,) = tmp_path.rglob("run-*.wandb")
    forked.wait_for(lambda: wandb_files.last_step(file) > 10)
    os.kill(started, signal.SIGKILL)
    forked.status(started)
    (checkpoint,) = tmp_path.glob("runs/killed/*/checkpoints/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 20
    status, _, err = limbeck("train", *words)
    assert status == 0, err
    assert "going on from" in err
    first, second = recorded(tmp_path, "killed", finished=1)
    assert first.run.run_id == second.run.run_id
    assert first.steps
    assert first.exit is None or first.exit != 0
    assert second.exit == 0
    assert not first.artefacts
    assert set(second.artefacts) == {"run_table", "evaluation"}
    # Together they are one history: no step twice, all in order. W&B's own process writes some steps later: what it had
    # not yet written is missing, and only right before the checkpoint that the second went on from.
    steps = first.steps + second.steps
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (0, 40)
    missing = set(range(41)) - set(steps)
    assert len(missing) < 20
    assert missing == set(range(first.steps[-1] + 1, second.steps[0]))
    assert all("train/ckl" in row for one in (first, second) for step, row in one.history.items() if step < 40)


def test_steps_that_are_recorded_are_not_recorded_again(tmp_path):
    import wandb

    run = wandb.init(mode="offline", dir=tmp_path, id="again", settings=wandb.Settings(silent=True, console="off"))
    curves = Curves(run, after=5)
    assert curves.step == 5
    for step in range(3, 9):
        curves.log_metrics({"value": step}, step)
        curves.log_metrics({"dev": -step}, step)
    assert curves.step == 8
    run.finish()
    (file,) = wandb_files.find(tmp_path, "again")
    await_end(file)
    rows = dict(wandb_files.history(file))
    assert {step: (row["value"], row["dev"]) for step, row in rows.items()} == {6: (6, -6), 7: (7, -7), 8: (8, -8)}
    assert wandb_files.last_step(file) == 8


@pytest.mark.parametrize(
    ("name", "expected"),
    [("grid", "grid-0123abcd"), ("a/b", "a-b-"), ("ünicode?", "-nicode--"), ("x" * 200, "x" * 40)],
)
def test_ids_are_what_wandb_takes(name, expected):
    identity = identify(name, "0123abcd")
    assert identity.startswith(expected)
    assert identity.endswith("-0123abcd")
    assert len(identity) <= 64
    assert not set(identity) & set(":;,#?/' ")
    assert identify("a/b", "0123abcd") != identify("a-b", "0123abcd") != identify("a b", "0123abcd")
    assert identify("x" * 200, "0123abcd") != identify("x" * 201, "0123abcd")


def test_tags_name_models_and_collections_by_their_last_word(tmp_path):
    (tmp_path / "nfcorpus").mkdir()
    config = {
        "loss": {"ckl": {}},
        "student": {"_target_": "student/cross_encoder"},
        "data": {"collection": str(tmp_path / "nfcorpus")},
        "teacher": {
            "_target_": "teacher/ranker",
            "backbone": {"model": "cross-encoder/ms-marco-MiniLM-L-6-v2"},
        },
    }
    found = ["loss:ckl", "student:cross_encoder", "collection:nfcorpus"]
    assert tags(config, []) == [*found, "teacher:cross-encoder/ms-marco-MiniLM-L-6-v2"]
    assert tags(config | {"teacher": None}, ["a" * 70, "loss:ckl", ""]) == [*found, "teacher:none", "a" * 64]


def test_secrets_are_left_out_by_name_and_by_value(monkeypatch):
    monkeypatch.setenv("DATABASE_PASSWORD", "correct horse")
    monkeypatch.setenv("SHORT_KEY", "kl")
    config = {
        "apiKey": "1", "API_KEY": "1", "hub-token": "1", "wandb": {"key": "1", "secrets": ["1"], "project": "p"},
        "tokenizer": "kept", "max_tokens": 3, "keyword": "kept", "monkey": "kept", "keys_per_head": 4,
        "path": "postgres://me:correct horse@host", "loss": ["kl", {"password": "1"}], "folder": "/home/me",
    }  # fmt: skip
    shown = without_secrets(config)
    assert shown["wandb"] == {"project": "p"}
    assert shown["path"] == "postgres://me:(left out)@host"
    assert shown["loss"] == ["kl", {}]
    assert "1" not in json.dumps(shown)
    kept = ("tokenizer", "keyword", "monkey", "folder")
    assert {name: shown[name] for name in kept} == {name: config[name] for name in kept}


def test_files_of_wandb_are_read_as_far_as_they_go(tmp_path):
    import wandb

    run = wandb.init(mode="offline", dir=tmp_path, id="long", settings=wandb.Settings(silent=True, console="off"))
    for step in range(60):
        run.log({"value": step, "text": "x" * 2000}, step=step)  # records that cross the blocks of the file
    run.finish()
    (file,) = wandb_files.find(tmp_path, "long")
    await_end(file)
    rows = list(wandb_files.history(file))
    assert [(step, row["value"]) for step, row in rows] == [(step, step) for step in range(60)]
    whole = file.read_bytes()
    for cut in (0, 7, 10, 40_000, len(whole) - 3):
        file.write_bytes(whole[:cut])
        found = list(wandb_files.history(file))
        assert found == rows[: len(found)]
    file.write_bytes(b"something else")
    with pytest.raises(ValueError, match="no file of a W&B run"):
        wandb_files.last_step(file)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"project": f"a{letter}b"}, "project must have none of the characters") for letter in "/\\#?%:"),
        ({"project": ""}, "project must have 1 to 128 characters"),
        ({"project": "  "}, "project must have 1 to 128 characters"),
        ({"project": "x" * 129}, "project must have 1 to 128 characters"),
        ({"entity": "a/b c"}, "entity must be letters, digits, - and _"),
        ({"entity": ""}, "entity must be letters, digits, - and _"),
        ({"job_type": ""}, "job_type must have 1 to 64 characters"),
        ({"tags": [""]}, "tags must have 1 to 64 characters each"),
        ({"tags": ["fine", "x" * 65]}, "tags must have 1 to 64 characters each"),
    ],
)
def test_names_that_wandb_would_refuse_once_the_run_has_begun(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        WandB(**options)
    WandB(project="x" * 128, entity="my-team_1", tags=["x" * 64])


def test_short_names_of_a_table():
    rows = [
        {"key": "first_stage", "system": "BM25", "ndcg@10": 0.25, "queries": 7},
        {"key": "student", "system": "student, distilled", "ndcg@10": 0.5},
        {"key": "student.search", "system": "student, searches", "ndcg@10": 0.4},
        {"key": "student", "set": "scifact", "system": "student, distilled", "mrr@10": 0.75},
        {"key": "teacher", "set": "scifact", "system": "teacher", "mrr@10": 1.0},
    ]
    assert summary(rows, "dev") == {
        "first_stage/ndcg@10": 0.25, "dev/ndcg@10": 0.5, "student.search/ndcg@10": 0.4, "scifact/mrr@10": 0.75,
        "scifact/teacher/mrr@10": 1.0,
    }  # fmt: skip


def tensorboard_records(path):
    """The records of a file of events: length (8 bytes), checksum (4), bytes, checksum (4)."""
    data, place = path.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + length]
        place += length + 16


def test_tensorboard_and_other_loggers_of_lightning_have_curves_and_the_final_values(tmp_path):
    from tensorboardX.proto.event_pb2 import Event

    rows = [{"key": "student", "system": "student", "ndcg@10": 0.5}]
    config = {"loss": {"kl": {}}, "eval": {"split": "test"}, "apiKey": "hunter2"}
    tracker = TensorBoard()
    (logger,) = tracker.start(tmp_path, "grid", "0123abcd", config)
    logger.log_metrics({"train/kl": 2.0}, 3)
    logger.finalize("success")  # as Lightning does when the training ends
    tracker.finish(rows, list, failed=False)
    events = [Event.FromString(each) for path in tmp_path.rglob("events.*") for each in tensorboard_records(path)]
    found = {(value.tag, event.step): value.simple_value for event in events for value in event.summary.value}
    assert found["train/kl", 3] == 2.0
    assert found["test/ndcg_10", 0] == 0.5
    assert not any(b"hunter2" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    other = Lightning(
        logger="lightning.pytorch.loggers.CSVLogger",
        options={"save_dir": "{folder}", "name": "{name}", "version": "{id}"},
    )
    other.start(tmp_path, "grid", "0123abcd", config)
    other.finish(rows, list, failed=False)
    assert "0.5" in (tmp_path / "grid" / "0123abcd" / "metrics.csv").read_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"logger": "no.such.Logger"}, "cannot be imported"),
        ({"logger": "pathlib.Path"}, "is no class of a Lightning logger"),
        ({"logger": "Logger"}, "cannot be imported"),
    ],
)
def test_loggers_that_are_none(options, message):
    with pytest.raises(ValueError, match=message):
        Lightning(**options)
    with pytest.raises(ValueError, match="CSVLogger refuses its options"):
        Lightning(logger="lightning.pytorch.loggers.CSVLogger", options={"x": 1}).start(Path(), "n", "i", {})
