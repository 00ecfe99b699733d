"""Folders of sentence-transformers as students: read back from our exports and from what the library saves."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.export.conftest import LENGTHS, STUDENTS, collator_of, scores_of

from limbeck.backbones.layout import layout
from limbeck.backbones.pretrained import Pretrained
from limbeck.config import ConfigError
from limbeck.experiment import assemble
from limbeck.export.modules import pipeline
from limbeck.students.foreign import read
from limbeck.students.saved import Saved
from limbeck.students.tops import load_top

library = pytest.importorskip("sentence_transformers")


def again(folder, **options):
    """Return the student in a folder, and its collator."""
    nodes = Saved(folder=str(folder), options=options).nodes({})
    student, words = assemble.saved(nodes.student, nodes.backbone)
    student.eval()
    return student, collator_of(student, words)


@pytest.mark.parametrize("name", STUDENTS)
def test_what_is_read_back_scores_alike(name, make, tmp_path):
    """From the folder that we write, and from what the library saves of it."""
    student, collator = make(name)
    made = pipeline(student, collator)
    made.write(tmp_path / "ours")
    getattr(library, made.library)(str(tmp_path / "ours"), device="cpu").save(str(tmp_path / "theirs"))
    options = dict(LENGTHS) if name.startswith("cross") else {}  # those of a pair are not told apart there
    if hasattr(student, "scale"):
        options["scale"] = student.scale
    expected = scores_of(student, collator)
    for saver in ("ours", "theirs"):
        read_back, its = again(tmp_path / saver, **options)
        assert type(read_back) is type(student)
        torch.testing.assert_close(scores_of(read_back, its), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["dense-separate", "splade-separate", "colbert", "cross-encoder-head"])
def test_with_adapters_what_is_read_back_scores_alike(name, make, tmp_path):
    student, collator = make(name)
    pipeline(student, collator).write(tmp_path)
    options = dict(LENGTHS) if name.startswith("cross") else {"scale": student.scale}
    nodes = Saved(folder=str(tmp_path), options=options).nodes({})
    read_back, words = assemble.saved(nodes.student, nodes.backbone | {"lora": {"rank": 2}})
    its = collator_of(read_back.eval(), words)
    torch.testing.assert_close(scores_of(read_back, its), scores_of(student, collator), atol=1e-4, rtol=1e-4)
    # And adapters that have learned something go into the next export, of both transformers.
    for parameter_name, parameter in read_back.named_parameters():
        if "lora_" in parameter_name:
            torch.nn.init.normal_(parameter, std=0.3)
    pipeline(read_back, its).write(tmp_path / "next")
    again_, words = again(tmp_path / "next", **options)
    assert (scores_of(read_back, its) - scores_of(student, collator)).abs().max() > 1e-2
    torch.testing.assert_close(scores_of(again_, words), scores_of(read_back, its), atol=1e-4, rtol=1e-4)


def saved(folder, modules, kind="SentenceTransformer", **options):
    getattr(library, kind)(modules=modules, device="cpu", **options).save(str(folder))
    found = layout(folder)
    assert found is not None
    return found


@pytest.fixture
def parts(make, tmp_path):
    """Modules of the library over a small transformer."""
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    student, collator = make("dense")
    student.backbone.save_pretrained(tmp_path / "plain")
    collator.tokenizer.tokenizer.save_pretrained(tmp_path / "plain")
    return lambda length=None: Transformer(str(tmp_path / "plain"), max_seq_length=length), Pooling, Dense, Normalize


def test_a_folder_as_the_library_makes_it(parts, tmp_path):
    transformer, pooling, _, normalise = parts
    modules = [transformer(24), pooling(16, "cls"), normalise()]
    kind, options = read(saved(tmp_path / "it", modules, prompts={"query": "query: ", "document": "passage: "}))
    assert kind == "dense"
    assert options == {
        "pooling": "cls", "similarity": "cosine", "dimension": None, "query_prefix": "query: ",
        "document_prefix": "passage: ", "query_length": 24, "document_length": 24,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("extra", "told"),
    [
        (lambda pooling, dense: [pooling(16, "max")], "its pooling is max; mean, cls, lasttoken are supported"),
        (lambda pooling, dense: [pooling(16, ("mean", "cls"))], "its pooling is mean and cls"),
        (lambda pooling, dense: [pooling(16, include_prompt=False)], "pooling without the prompt is not supported"),
        (lambda pooling, dense: [pooling(16), dense(16, 8), dense(8, 8)], "3_Dense is a second layer over the"),
        (lambda pooling, dense: [], "it has 0 modules Pooling, not one"),
    ],
)
def test_what_no_student_represents_is_refused_with_the_reason(extra, told, parts, tmp_path):
    transformer, pooling, dense, _ = parts
    found = saved(tmp_path / "it", [transformer(), *extra(pooling, dense)])
    with pytest.raises(ConfigError, match=told):
        read(found)


def test_other_similarities_are_refused(parts, tmp_path):
    transformer, pooling, _, _ = parts
    with pytest.raises(ConfigError, match="euclidean; dot and cosine are supported"):
        read(saved(tmp_path / "it", [transformer(), pooling(16)], similarity_fn_name="euclidean"))


def test_a_layer_of_another_shape_is_not_loaded(make, tmp_path):
    student, collator = make("colbert")
    pipeline(student, collator).write(tmp_path)
    other, _ = make("colbert", dimension=4)
    with pytest.raises(ConfigError, match=r"projection.weight do not fit the student"):
        load_top(other, Pretrained(model=str(tmp_path)))


def test_a_folder_that_is_broken_is_named(tmp_path):
    for text, told in (("[", "cannot be read"), ("[1]", "is not what"), ("[{}]", "is not what"), ("3", "is not what")):
        (tmp_path / "modules.json").write_text(text)
        with pytest.raises(ConfigError, match=rf"modules\.json {told}"):
            Saved(folder=str(tmp_path)).nodes({})


@pytest.mark.parametrize(
    ("name", "file", "told"),
    [
        ("colbert", "1_Dense/model.safetensors", "1_Dense' could not be loaded"),
        ("dense-cut", "2_Dense/model.safetensors", "2_Dense' could not be loaded"),
        ("cross-encoder-mean", "2_Dense/model.safetensors", "2_Dense' could not be loaded"),
        ("dense-separate", "query_0_Transformer/model.safetensors", "could not be loaded"),
        ("dense-separate", "document_0_Transformer/model.safetensors", "document_0_Transformer' could not be loaded"),
        ("splade-tokens", "query_0_SparseStaticEmbedding/model.safetensors", "Embedding' could not be loaded"),
    ],
)
@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_weights_that_are_damaged_are_named(name, file, told, damage, make, tmp_path):
    pipeline(*make(name)).write(tmp_path)
    path = tmp_path / file
    content = path.read_bytes()
    path.unlink()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=told):
        again(tmp_path)


def test_a_transformer_of_queries_that_lacks_weights_is_refused(make, tmp_path):
    pipeline(*make("dense-separate")).write(tmp_path)
    path = tmp_path / "query_0_Transformer" / "model.safetensors"
    weights = load_file(path)
    name = next(name for name in weights if name.endswith("layer.1.attention.self.query.weight"))
    save_file({key: value for key, value in weights.items() if key != name}, path, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"layer\.1\.attention\.self\.query\.weight missing"):
        again(tmp_path)
