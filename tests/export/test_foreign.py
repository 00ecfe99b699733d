"""Folders of sentence-transformers as students: read back from our exports and from what the library saves."""

import pytest
import torch
from tests.export.conftest import LENGTHS, STUDENTS, collator_of, scores_of

from limbeck.cli import assemble
from limbeck.config import ConfigError
from limbeck.export.modules import pipeline
from limbeck.students.foreign import layout, load_top, read
from limbeck.students.saved import Saved

library = pytest.importorskip("sentence_transformers")


def again(folder, **options):
    """Return the student in a folder, and its collator."""
    nodes = Saved(folder=str(folder), options=options).nodes({})
    student, words = assemble.saved(nodes.student, nodes.backbone)
    student.eval()
    return student, collator_of(student, words)


@pytest.mark.parametrize("saver", ["limbeck", "sentence-transformers"])
@pytest.mark.parametrize("name", STUDENTS)
def test_what_is_read_back_scores_alike(name, saver, make, tmp_path):
    student, collator = make(name)
    made = pipeline(student, collator)
    made.write(tmp_path / "one")
    folder = tmp_path / "one"
    if saver == "sentence-transformers":
        folder = tmp_path / "two"
        getattr(library, made.library)(str(tmp_path / "one"), device="cpu").save(str(folder))
    options = dict(LENGTHS) if name.startswith("cross") else {}  # those of a pair are not told apart there
    if hasattr(student, "scale"):
        options["scale"] = student.scale
    read_back, its = again(folder, **options)
    assert type(read_back) is type(student)
    torch.testing.assert_close(scores_of(read_back, its), scores_of(student, collator), atol=1e-4, rtol=1e-4)


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
        (lambda pooling, dense: [pooling(16, "max")], "its pooling is max; mean and cls are known"),
        (lambda pooling, dense: [pooling(16, ("mean", "cls"))], "its pooling is mean and cls"),
        (lambda pooling, dense: [pooling(16, include_prompt=False)], "leaves out the prompt"),
        (lambda pooling, dense: [pooling(16), dense(16, 8)], "2_Dense is a layer over the whole embedding"),
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
    with pytest.raises(ConfigError, match="euclidean; dot and cosine are known"):
        read(saved(tmp_path / "it", [transformer(), pooling(16)], similarity_fn_name="euclidean"))


def test_a_layer_of_another_shape_is_not_loaded(make, tmp_path):
    student, collator = make("colbert")
    pipeline(student, collator).write(tmp_path)
    other, _ = make("colbert", dimension=4)
    with pytest.raises(ConfigError, match=r"projection.weight do not fit the student"):
        load_top(other, tmp_path)


def test_a_folder_that_is_broken_is_named(tmp_path):
    (tmp_path / "modules.json").write_text("[")
    with pytest.raises(ConfigError, match=r"modules.json cannot be read"):
        Saved(folder=str(tmp_path)).nodes({})
