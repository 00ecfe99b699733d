"""Weights that a checkpoint lacks: an error that names them if nothing trains them, else they start at random."""

import json
import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.students.test_backbones import VOCABULARY, WORDS, write

from limbeck.artefacts import Artefacts
from limbeck.config import ConfigError, entries
from limbeck.experiment import assemble
from limbeck.students.folders import MARK
from limbeck.students.saved import resolve
from limbeck.text.collate import Collator, Example


def node(kind, name, **options):
    entry = entries()[kind, name]
    given = {item.name: item.default for item in entry.parameters if item.default is not ...}
    return {"_target_": entry.target, **given, **options}


class Collection:
    """As much of a collection as a ranker is built with."""

    fingerprint = name = "small"

    def iterate(self):
        return iter([("1", " ".join(WORDS))])

    def query_texts(self, ids):
        return ["ba ke"] * len(ids)

    document_texts = query_texts


@pytest.fixture
def build(tmp_path):
    """Build a student over a checkpoint, not to be trained unless ``anew``."""

    def call(student, folder, *, anew=False, lora=None, **options):
        source = node("backbone", "pretrained", model=str(folder), lora=lora)
        lengths = {"query_length": 8, "document_length": 12}
        made = node("student", student, **{**lengths, **options})
        return assemble.ranker(made, source, Collection(), Artefacts(tmp_path / "cache"), anew=anew)

    return call


def drop(folder, *parts):
    """Take the weights out of a checkpoint whose names hold one of the parts."""
    weights = load_file(folder / "model.safetensors")
    left = {name: value for name, value in weights.items() if not any(part in name for part in parts)}
    assert len(left) < len(weights)
    save_file(left, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("student", "options", "task", "family", "dropped", "named"),
    [
        ("cross_encoder", {"pooling": "head"}, "encoder", "Bert", (), r"backbone\.classifier\.bias"),
        (
            "cross_encoder",
            {"pooling": "head"},
            "classifier",
            "Bert",
            ("pooler",),
            r"bert\.pooler\.dense\.bias",
        ),
        ("cross_encoder", {"pooling": "head"}, "classifier", "Bert", ("classifier",), r"backbone\.classifier\.weight"),
        ("cross_encoder", {"pooling": "head"}, "encoder", "Roberta", (), r"backbone\.classifier\.dense\.bias"),
        ("cross_encoder", {"pooling": "mean"}, "encoder", "Bert", (), r"head\.weight"),
        ("cross_encoder", {"pooling": "cls"}, "classifier", "Bert", (), r"head\.weight"),
        ("splade", {}, "encoder", "Bert", (), r"cls\.predictions\.bias"),
        ("splade", {}, "mlm", "Bert", ("transform.LayerNorm",), r"transform\.LayerNorm\.bias"),
        ("splade", {}, "encoder", "Electra", (), r"generator_lm_head\.bias"),
        ("colbert", {"dimension": 4}, "encoder", "Bert", (), r"projection\.weight"),
        ("dense", {"projection": 4}, "encoder", "Bert", (), r"projection\.weight"),
        ("dense", {"towers": "separate"}, "encoder", "Bert", (), r"query_backbone\."),
    ],
    ids=str,
)
def test_an_untrained_student_is_refused_and_a_trained_one_starts(
    build, tmp_path, student, options, task, family, dropped, named
):
    write(family, tmp_path / "it", task, **({"num_labels": 1} if task == "classifier" else {}))
    if dropped:
        drop(tmp_path / "it", *dropped)
    with pytest.raises(ConfigError, match=rf"^backbone\.model: .* lacks .*{named}.*would be random"):
        build(student, tmp_path / "it", **options)
    build(student, tmp_path / "it", anew=True, **options)


FAMILIES = ("Bert", "Roberta", "DistilBert", "ModernBert", "DebertaV2", "Electra")
HEADS = [
    ("dense", {}, "encoder"),
    ("splade", {}, "mlm"),  # the decoder is tied to the embeddings
    ("cross_encoder", {"pooling": "head"}, "classifier"),
]
"""Heads are named by family."""


@pytest.mark.parametrize(
    ("family", "student", "options", "task"),
    [
        *((family, *head) for family in FAMILIES for head in HEADS),
        ("Bert", "dense", {"learn_scale": True}, "mlm"),  # no pooler, which is not used; the scale is the option's
        ("Bert", "splade", {"query_encoder": "tokens"}, "mlm"),
    ],
    ids=str,
)
def test_what_a_checkpoint_gives_whole_is_taken(build, tmp_path, family, student, options, task):
    write(family, tmp_path / "it", task, **({"num_labels": 1} if task == "classifier" else {}))
    build(student, tmp_path / "it", **options)


def test_a_saved_student_without_its_top_is_refused(build, tmp_path):
    write("Bert", tmp_path / "plain")
    student, collator = build("colbert", tmp_path / "plain", anew=True, dimension=4)
    it = node("student", "colbert", dimension=4)
    assemble.save(student, collator.tokenizer, tmp_path / "it", it, "0")
    build("colbert", tmp_path / "it", dimension=4)
    (tmp_path / "it" / "head.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"lacks projection\.weight"):
        build("colbert", tmp_path / "it", dimension=4)


def test_with_adapters_what_starts_anew_trains(build, tmp_path):
    pytest.importorskip("peft")
    write("Bert", tmp_path / "it")
    for student, options in (("cross_encoder", {"pooling": "head"}), ("splade", {"query_encoder": "separate"})):
        made, _ = build(student, tmp_path / "it", anew=True, lora={"rank": 2}, **options)
        assert any(value.requires_grad for value in made.parameters())


def config(student, folder, *, trains, key):
    from omegaconf import OmegaConf

    lengths = {"query_length": 8, "document_length": 12}
    own = {
        "student": node("student", student, **lengths),
        "backbone": node("backbone", "pretrained", model=str(folder)),
    }
    whole = own if key == "" else {key.removesuffix("."): own}
    return OmegaConf.create(whole | ({"optim": {}} if trains else {}))


@pytest.fixture
def ours(build, tmp_path):
    """Save a student with a pooling of its own."""
    write("Bert", tmp_path / "plain")
    student, collator = build("dense", tmp_path / "plain", pooling="cls")
    it = node("student", "dense", pooling="cls", query_length=8, document_length=12)
    assemble.save(student, collator.tokenizer, tmp_path / "it", it, "0")
    return tmp_path / "it"


def test_a_backbone_out_of_a_students_folder_is_said_in_training(ours, caplog):
    resolve(config("dense", ours, trains=True, key=""))
    assert "loads only the transformer from the folder: pooling is 'cls' there, 'mean' here" in caplog.text
    assert f"student=saved student.folder={ours}" in caplog.text


@pytest.mark.parametrize(
    ("key", "trains"), [("", False), ("teacher.", True), ("candidates.", True), ("teacher.", False)]
)
def test_a_backbone_out_of_a_students_folder_is_refused_elsewhere(ours, key, trains):
    word = key.removesuffix(".") or "student"
    with pytest.raises(ConfigError, match=rf"pooling is 'cls' there.*{word}=saved {key}student\.folder="):
        resolve(config("dense", ours, trains=trains, key=key))
    with pytest.raises(ConfigError, match="it holds a dense, not a colbert"):
        resolve(config("colbert", ours, trains=trains, key=key))


def test_one_that_agrees_is_taken_without_a_word(ours, caplog):
    made = config("dense", ours, trains=False, key="")
    made.student.pooling = "cls"
    resolve(made)
    (ours / MARK).unlink()
    resolve(config("dense", ours, trains=False, key=""))  # it says nothing of a student any more
    assert not caplog.messages


@pytest.mark.parametrize(("family", "fits"), [("Bert", 40 - 3), ("Roberta", 40 - 2 - 4)])
def test_a_pair_of_the_greatest_lengths_fits_the_positions(build, tmp_path, family, fits):
    write(family, tmp_path / "it", "classifier", num_labels=1)
    if family == "Roberta":  # as its own tokenizers: two separators between the texts
        path = tmp_path / "it" / "tokenizer.json"
        words = json.loads(path.read_text())
        ends = {name: [token, VOCABULARY.index(token)] for name, token in (("cls", "[CLS]"), ("sep", "[SEP]"))}
        words["post_processor"] = {"type": "RobertaProcessing", "trim_offsets": True, "add_prefix_space": False, **ends}
        path.write_text(json.dumps(words))
    given = {"pooling": "head", "query_length": 8}
    with pytest.raises(ConfigError, match=r"student\.document_length: .* tokens do not fit the backbone"):
        build("cross_encoder", tmp_path / "it", **given, document_length=fits - 8 + 1)
    student, collator = build("cross_encoder", tmp_path / "it", **given, document_length=fits - 8)
    long = lambda ids: ["ba " * 50] * len(ids)  # noqa: E731
    collator = Collator(collator.tokenizer, student.style, long, long)
    with torch.inference_mode():
        assert student(collator([Example("1", ["2"])])).scores.isfinite().all()


@pytest.fixture
def sentence_transformers(tmp_path):
    """Write the layout of a folder of sentence-transformers whose pooling is the first token."""

    def call(folder, transformer=""):
        write("Bert", folder / transformer)
        names = [("Transformer", transformer), ("Pooling", "1_Pooling")]
        listed = [{"path": path, "type": f"sentence_transformers.models.{name}"} for name, path in names]
        (folder / "modules.json").write_text(json.dumps(listed))
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode": "cls"}))
        (folder / "config_sentence_transformers.json").write_text(json.dumps({"similarity_fn_name": "dot"}))
        options = {"max_seq_length": 20, "do_lower_case": True}
        (folder / transformer / "sentence_bert_config.json").write_text(json.dumps(options))
        return folder

    return call


@pytest.mark.parametrize("key", ["", "teacher.", "candidates."])
def test_a_transformers_subfolder_is_a_part_of_the_students_folder(sentence_transformers, tmp_path, key):
    folder = sentence_transformers(tmp_path / "it", "0_Transformer")
    word = key.removesuffix(".") or "student"
    named = rf"pooling is 'cls' there, 'mean' here\. To load .*: {word}=saved {key}student\.folder={folder}"
    with pytest.raises(ConfigError, match=named):
        resolve(config("dense", folder / "0_Transformer", trains=False, key=key))
    agreed = config("dense", folder / "0_Transformer", trains=False, key="")
    agreed.student.pooling = "cls"
    resolve(agreed)


@pytest.fixture
def hub(sentence_transformers, tmp_path, monkeypatch):
    """Put a model of sentence-transformers into a cache of the hub, as small/model."""
    place = tmp_path / "hub" / "models--small--model"
    sentence_transformers(place / "snapshots" / ("a" * 40))
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text("a" * 40)
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", str(tmp_path / "hub"), raising=False)


def test_a_backbone_out_of_a_students_model_on_the_hub_is_refused_or_said(hub, build, caplog):
    with pytest.raises(
        ConfigError, match=r"from the model on the hub: pooling is 'cls' there, 'mean' here.*hf download"
    ):
        build("dense", "small/model")
    with pytest.raises(ConfigError, match="it holds a dense, not a cross_encoder"):
        build("cross_encoder", "small/model", pooling="head")
    caplog.set_level(logging.WARNING)
    build("dense", "small/model", anew=True)
    assert "'mean' here. To load the whole student: hf download small/model --local-dir FOLDER" in caplog.text


def test_what_a_model_on_the_hub_says_of_its_texts_is_honoured(hub, build):
    _, collator = build("dense", "small/model", pooling="cls")
    assert collator.tokenizer.plain(["BA ke"])[0].tolist() == collator.tokenizer.plain(["ba ke"])[0].tolist()


def test_a_plain_checkpoint_on_the_hub_is_taken_without_a_word(hub, build, tmp_path, caplog):
    (tmp_path / "hub" / "models--small--model" / "snapshots" / ("a" * 40) / "modules.json").unlink()
    build("dense", "small/model")
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]
