"""Planted files do nothing: what would run a command, lead out of a folder, or be read as markup stays data."""

import json
import os
import pickle
import re
import shutil

import numpy as np
import pytest
import torch
import yaml

from limbeck.backbones.sources import load_tokenizer, locate
from limbeck.config import ConfigError, build
from limbeck.experiment.table import tabulate
from limbeck.export.card import card
from limbeck.export.layout import Module, Pipeline
from limbeck.export.origin import Origin
from limbeck.reporting.results import latex, markdown, terminal
from limbeck.scores.store import ScoreStore
from limbeck.search.shards import Store
from limbeck.secrecy import masked, without_secrets
from limbeck.students.saved import Saved
from limbeck.training.checkpoints import read

EVIL = (
    r"</script><script>alert('1')</script> \input{/etc/passwd} 100% & a_b #1 $x$ {y} ~z^2 | `c` [l](u) [bold]q[/bold]"
)


class Bomb:
    """Leaves a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return os.system, (f"touch {self.mark}",)


@pytest.fixture
def mark(tmp_path):
    """A file that must never appear."""
    path = tmp_path / "ran"
    yield path
    assert not path.exists()


def planted(path, bomb):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(bomb))
    return path


def test_the_bomb_goes_off(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "off")))  # or the other tests would show nothing
    assert (tmp_path / "off").exists()


# -- files that are programs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_checkpoint(mark, tmp_path, wrapped):
    path = planted(tmp_path / "last.ckpt", Bomb(mark))
    if wrapped:  # in the archive that torch writes
        torch.save({"state_dict": {}, "global_step": Bomb(mark)}, path)
    with pytest.raises(ConfigError, match=r"last\.ckpt"):
        read(path)


def encoder(folder, **more):
    """Write a tiny BERT without weights."""
    from transformers import BertConfig

    config = BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8, vocab_size=9)
    config.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["BertModel"], **more}))
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d"]))


@pytest.mark.parametrize("wrapped", [False, True])
def test_weights_of_a_checkpoint_from_elsewhere(limbeck, mark, tmp_path, wrapped):
    encoder(tmp_path / "model")
    path = planted(tmp_path / "model" / "pytorch_model.bin", Bomb(mark))
    if wrapped:
        torch.save({"embeddings": Bomb(mark)}, path)
    words = ["data=synthetic", "backbone=pretrained", f"backbone.model={tmp_path}/model", "out=index"]
    status, _, err = limbeck("index", *words, small=False)
    assert status == 2, err
    assert "backbone.model" in err
    assert "could not be loaded" in err


def test_code_beside_a_model_is_not_run(limbeck, mark, tmp_path):
    source = f"import os\nos.system('touch {mark}')\nfrom transformers import BertModel, BertConfig\n"
    names = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoTokenizer": ["evil.Words", None]}
    encoder(tmp_path / "model", auto_map=names, model_type="evil")
    (tmp_path / "model" / "evil.py").write_text(
        f"{source}class Config(BertConfig): pass\nclass Model(BertModel): pass\n"
    )
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({"auto_map": names}))
    words = ["data=synthetic", "backbone=pretrained", f"backbone.model={tmp_path}/model", "out=index"]
    status, _, err = limbeck("index", *words, small=False)
    assert status == 2, err
    assert "could not be loaded" in err
    with pytest.raises(ConfigError, match="could not be loaded"):
        load_tokenizer(str(tmp_path / "model"))


def test_arrays_and_tables(mark, tmp_path):
    index = tmp_path / "index"
    shard = index / "shard-000000"
    shard.mkdir(parents=True)
    identity = {"kind": "dense", "dtype": "float32", "shard_size": 4}
    (index / "index.json").write_text(json.dumps({"format": 1, "identity": identity, "made_from": {}, "documents": 1}))
    (shard / "shard.json").write_text('{"width": 2}')
    np.save(shard / "values.npy", np.array([Bomb(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(ConfigError, match=r"allow_pickle.*delete it"):
        Store(index).shard(0)
    planted(tmp_path / "store" / ("0" * 32) / "rows.arrow", Bomb(mark))
    (tmp_path / "store" / "meta.json").write_text(json.dumps({"version": 1, "checksum": "0" * 32, "rows": 1}))
    with pytest.raises(ConfigError, match="damaged"):
        ScoreStore.open(tmp_path / "store")


def test_a_pickle_of_scores_through_the_command(limbeck, mark, tmp_path):
    planted(tmp_path / "scores.pkl", Bomb(mark))
    status, _, err = limbeck(
        "import", "format=sbert_ce_scores", "path=scores.pkl", "out=new", "teacher.name=x", small=False
    )
    assert (status, "refused: the pickle wants to use" in err) == (2, True)


# -- targets: every door by which a configuration comes in ----------------------------------------------------------

RUNS = [
    "os.system",
    "builtins.eval",
    "subprocess.Popen",
    "limbeck.tuning.process.Process",
    "limbeck.artefacts.write_json",
    "limbeck.__main__.main",
    "torch.load",
    "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler",
    "torch.nn.functional.relu",
    "lightning.pytorch.cli.LightningCLI",
]


@pytest.mark.parametrize("target", RUNS)
def test_a_target_that_could_do_anything(target, mark):
    with pytest.raises(ConfigError, match=r"^loss\.x\._target_: "):
        build({"_target_": target, "_args_": [f"touch {mark}"]}, key="loss.x")


def test_parts_of_torch_and_lightning_are_built():
    assert build({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 2}, key="x").out_features == 2
    assert build({"_target_": "lightning.pytorch.callbacks.Timer"}, key="x") is not None


@pytest.mark.parametrize("key", ["loss.kl", "optim", "sampler", "student", "backbone", "teacher", "candidates", "data"])
def test_a_target_on_the_command_line(key, limbeck, mark, tmp_path):
    words = ["loss=[kl]", f"++{key}._target_=os.system", f"++{key}.command='touch {mark}'"]
    status, _, err = limbeck("train", *words)
    assert status == 2, err
    assert "os.system" in err
    assert not list(tmp_path.rglob("result.json"))


def test_a_target_in_an_experiment_from_elsewhere(limbeck, mark, tmp_path):
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    node = f"  x: {{_target_: os.system, command: 'touch {mark}'}}"
    (folder / "found.yaml").write_text(f"# @package _global_\nloss:\n{node}\n")
    status, _, err = limbeck("train", f"hydra.searchpath=[file://{tmp_path}/conf]", "experiment=found")
    assert (status, "loss.x._target_: os.system is not allowed" in err) == (2, True), err


@pytest.fixture(scope="module")
def trained(two_losses, tmp_path_factory):
    """A finished run that may be changed."""
    return shutil.copytree(
        next(two_losses.glob("s/*/result.json")).parent, tmp_path_factory.mktemp("safety") / "runs" / "s" / "one"
    )


@pytest.mark.parametrize("part", ["student", "backbone"])
def test_a_target_in_a_saved_run(part, trained, limbeck, mark, tmp_path):
    import yaml

    run = shutil.copytree(trained, tmp_path / "run")
    config = yaml.safe_load((run / "config.yaml").read_text())
    config[part] = {"_target_": "os.system", "command": f"touch {mark}"}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    words = [f"run={run}/checkpoints/last.ckpt", "eval=folder", f"eval.sets.folder.collection={tmp_path}"]
    status, _, err = limbeck("evaluate", *words, small=False)
    assert (status, "os.system is not allowed" in err) == (2, True), err


def test_a_yaml_that_builds_objects(trained, limbeck, mark, tmp_path):
    run = shutil.copytree(trained, tmp_path / "runs" / "s" / "one")
    (run / "config.yaml").write_text(f"a: !!python/object/apply:os.system ['touch {mark}']\n")
    for words in (["report", "s"], ["evaluate", "run=runs/s/one"], ["export", "run=runs/s/one", "out=made"]):
        status, _, err = limbeck(*words, small=False)
        assert (status, "Traceback" in err) == (2, False), err


def test_a_target_in_the_file_of_a_saved_student(trained, mark, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run")
    path = run / "model" / "limbeck.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({"student": {"_target_": "os.system", "command": f"touch {mark}"}}))
    with pytest.raises(ConfigError, match=r"os\.system, which is not known here"):
        Saved(folder=str(run)).nodes({})
    told["student"]["pooling"] = {"_target_": "os.system", "command": f"touch {mark}"}
    path.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"student\.pooling\._target_: os.system is not allowed"):
        build(Saved(folder=str(run)).nodes({}).student, key="student")


# -- paths that lead elsewhere --------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["../../x", "/etc", "a/../../x"])
def test_files_that_name_folders_elsewhere(place, tmp_path):
    (tmp_path / "model").mkdir()
    kind = "sentence_transformers.models.Transformer"
    (tmp_path / "model" / "modules.json").write_text(json.dumps([{"idx": 0, "path": place, "type": kind}]))
    for read_it in (lambda: locate(str(tmp_path / "model")), lambda: Saved(folder=str(tmp_path / "model")).nodes({})):
        with pytest.raises(ConfigError, match="which is outside it"):
            read_it()
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "meta.json").write_text(json.dumps({"version": 1, "checksum": place, "rows": 1}))
    with pytest.raises(ConfigError, match="its checksum is not valid"):
        ScoreStore.open(tmp_path / "store")


# -- secrets ----------------------------------------------------------------------------------------------------------


def test_words_that_look_like_secrets_are_masked(monkeypatch):
    monkeypatch.setenv("MY_TOKEN", "correct horse battery")
    typed = ["+logger.api_key=k1", "--hf-token", "k2", "--hf-token=k3", "a=hf_abcdefghijklmnopqrstu", "seed=1",
             "data.collection=https://me:k4@host/x", "b=correct horse battery", "backbone.vocab_size=300"]  # fmt: skip
    told = " ".join(masked(typed))
    assert not any(secret in told for secret in ("k1", "k2", "k3", "k4", "hf_", "horse"))
    assert masked(typed)[5] == "seed=1"
    assert masked(typed)[-1] == typed[-1]
    assert without_secrets({"a": {"password": "x", "b": ["correct horse battery"]}}) == {"a": {"b": ["(left out)"]}}


def test_nothing_of_the_environment_is_recorded(limbeck, monkeypatch, tmp_path):
    monkeypatch.setenv("SOME_SECRET_KEY", "correct horse battery")
    monkeypatch.setenv("HARMLESS", "staple")
    words = ["+logger.api_key=typed-secret", "trainer.steps=2", "eval.start=false"]
    status, _, err = limbeck("train", "loss=[kl]", "student.query_prefix=${oc.env:SOME_SECRET_KEY}", *words)
    assert status == 2, err  # there is no such key; but the folder is begun
    (env,) = tmp_path.rglob("env.json")
    text = env.read_text() + (env.parent / "config.yaml").read_text()
    assert "typed-secret" not in text
    assert "horse" not in text
    assert "staple" not in text
    assert set(json.loads(env.read_text())) == {
        "command", "started", "commit", "uncommitted_changes", "python", "platform", "device", "cores", "threads",
        "versions", "overrides",
    }  # fmt: skip


# -- texts stay texts -------------------------------------------------------------------------------------------------


def test_a_report_reads_no_markup(trained, limbeck, tmp_path):
    run = shutil.copytree(trained, tmp_path / "runs" / "s" / "one")
    env = json.loads((run / "env.json").read_text())
    env["overrides"] += [f"student.query_prefix={EVIL}", f"{EVIL}={EVIL}"]
    env["command"].append(EVIL)
    env["device"] = EVIL
    (run / "env.json").write_text(json.dumps(env))
    result = json.loads((run / "result.json").read_text())
    result["collection"] = EVIL
    for row in result["rows"]:
        row["system"] += EVIL
    (run / "result.json").write_text(json.dumps(result))
    failed = tmp_path / "runs" / "s" / "two"
    failed.mkdir()
    shutil.copy(run / "config.yaml", failed)
    (failed / "error.txt").write_text(f"Error: {EVIL}")
    status, _, err = limbeck("report", "s", small=False)
    assert status == 0, err
    page = (tmp_path / "runs" / "s" / "report.html").read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page


def test_tables_read_no_markup(trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "runs" / "s" / "one")
    env = json.loads((run / "env.json").read_text())
    env["overrides"] += [f"student.query_prefix={EVIL}\n\\input{{x}}"]
    (run / "env.json").write_text(json.dumps(env))
    spec = {"caption": EVIL, "runs": ["s"], "rows": ["loss"], "titles": {"loss": EVIL}}
    config = {
        "table": {**spec, "labels": {"loss": dict.fromkeys(("kl", "ckl"), EVIL)}},
        "comparison": {"_target_": "comparison/comparison"},
        "paths": {"runs": str(tmp_path / "runs")},
        "partial": False, "mix_commits": True, "mix_data": False,
    }  # fmt: skip
    made = tabulate(config, "t")
    code = [line for line in latex.latex(made).splitlines() if not line.startswith("%")]
    assert r"\input" not in "\n".join(code)
    assert r"\textbackslash{}input\{/etc/passwd\} 100\% \& a\_b \#1 \$x\$ \{y\}" in "\n".join(code)
    plain, *_ = markdown.markdown(made).split("## The commands")
    assert "<script" not in plain
    assert "\\| \\`c\\`" in plain
    terminal.show(made)
    assert "[bold]q[/bold]" in capsys.readouterr().out


def test_a_card_reads_no_markup():
    first = Module("Transformer", {"transformer_task": "feature-extraction"}, length=8)
    pipeline = Pipeline("SentenceTransformer", [first])
    student = {"_target_": "student/dense", "scale": 1, "query_prefix": EVIL}
    row = {"system": EVIL, "candidates": EVIL, "queries": 1, "ndcg@10": 0.5}
    origin = Origin(
        config={"data": {"collection": EVIL}, "loss": {}, "student": {}},
        result={"collection": EVIL, "split": "test", "rows": [row], "run_id": EVIL},
        environment={"command": ["limbeck", f"x={EVIL}\n````\n<script>"], "device": EVIL},
    )
    whole = card(pipeline, student, origin, f"{EVIL}\n# x")
    head, text = whole.removeprefix("---\n").split("\n---\n", 1)
    assert yaml.safe_load(head)["datasets"] == [EVIL]  # data, no markup
    outside = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    outside = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", outside)  # code within a line
    assert "<script" not in outside
    assert text.count("\n````") == 2
    assert "\n# x" not in text
    table = [line for line in text.split("## Results")[1].split("## Training")[0].splitlines() if line.startswith("|")]
    assert {line.replace("\\|", "").count("|") for line in table} == {4}
