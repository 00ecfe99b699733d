"""``limbeck.load``: folders of every origin score as what they came from, and can be saved again."""

import json

import numpy as np
import pytest
import scipy.sparse
from tests.export.conftest import DOCUMENTS, LENGTHS, QUERIES, STUDENTS, scores_of
from tests.export.test_layouts import WIDTH, classifier, write
from transformers import BertForMaskedLM

from limbeck.config import ConfigError
from limbeck.experiment import assemble
from limbeck.experiment.loading import load
from limbeck.export.modules import pipeline

library = pytest.importorskip("sentence_transformers")

OLD = "sentence_transformers.models."


@pytest.fixture
def dense(make, tmp_path):
    """Save a SentenceTransformer with prompts, a linear layer and unit vectors, as the library does."""
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    student, collator = make("dense")
    student.backbone.save_pretrained(tmp_path / "plain")
    collator.tokenizer.tokenizer.save_pretrained(tmp_path / "plain")
    modules = [Transformer(str(tmp_path / "plain"), max_seq_length=24), Pooling(WIDTH, "cls"), Dense(WIDTH, 8)]
    prompts = {"query": "a dog ", "document": "at sea "}
    model = library.SentenceTransformer(modules=[*modules, Normalize()], prompts=prompts, device="cpu")
    model.save(str(tmp_path / "it"))
    return tmp_path / "it"


def older(folder):
    """Rewrite a folder of a SentenceTransformer as versions 2 to 4 of the library saved it."""
    listed = json.loads((folder / "modules.json").read_text())
    write(folder / "modules.json", [{**each, "type": OLD + each["type"].rpartition(".")[2]} for each in listed])
    write(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH, "pooling_mode_cls_token": True})
    settings = json.loads((folder / "config_sentence_transformers.json").read_text())
    del settings["model_type"]
    write(folder / "config_sentence_transformers.json", settings)
    write(folder / "sentence_bert_config.json", {"max_seq_length": 24, "do_lower_case": False})


def theirs(folder, kind):
    """All scores of QUERIES and DOCUMENTS as the library computes them."""
    model = getattr(library, kind)(str(folder), device="cpu")
    if kind == "CrossEncoder":
        pairs = [(query, document) for query in QUERIES for document in DOCUMENTS]
        return model.predict(pairs).reshape(len(QUERIES), len(DOCUMENTS))
    encoded = model.encode_query(QUERIES), model.encode_document(DOCUMENTS)
    return model.similarity(*encoded).cpu().float().numpy()


def ours(ranker):
    return np.stack([ranker.score(query, DOCUMENTS) for query in QUERIES])


@pytest.mark.parametrize("age", ["as it is saved today", "as it was saved"])
def test_a_sentence_transformer_with_prompts_and_layers(dense, age):
    if age == "as it was saved":
        older(dense)
    ranker = load(dense, device="cpu")
    np.testing.assert_allclose(ours(ranker), theirs(dense, "SentenceTransformer"), atol=1e-5)
    queries, documents = ranker.encode(QUERIES, "query"), ranker.encode(DOCUMENTS, "document")
    assert (queries.shape, queries.dtype) == ((len(QUERIES), 8), np.float32)
    np.testing.assert_allclose(queries @ documents.T, ours(ranker), atol=1e-6)
    assert ranker.encode([], "query").shape == (0, 8)


@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [
        ("splade", "SparseEncoder", {"query_prefix": "dogs "}),
        ("colbert-attended", "MultiVectorEncoder", {"scale": 1.0}),
        ("cross-encoder-head", "CrossEncoder", {}),
        ("cross-encoder-mean", "CrossEncoder", {}),
    ],
)
def test_what_the_library_saves_of_the_other_kinds(name, kind, options, make, tmp_path):
    pipeline(*make(name, **options)).write(tmp_path / "one")
    getattr(library, kind)(str(tmp_path / "one"), device="cpu").save(str(tmp_path / "two"))
    lengths = LENGTHS if kind == "CrossEncoder" else None  # of a pair that is too long each library cuts another text
    ranker = load(tmp_path / "two", options=lengths, device="cpu")
    fit = [0, 1, 3] if kind == "CrossEncoder" else [0, 1, 2, 3]
    np.testing.assert_allclose(ours(ranker)[:, fit], theirs(tmp_path / "two", kind)[:, fit], atol=1e-5)


def test_a_cross_encoder_of_before_it_had_modules(tokenizer, tmp_path):
    config = {"sentence_transformers": {"activation_fn": "torch.nn.modules.linear.Identity", "version": "4.1.0"}}
    classifier(tmp_path, tokenizer, 1, config=config)
    for name in ("modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"):
        (tmp_path / name).unlink()
    ranker = load(tmp_path, options={"query_length": 12, "document_length": 45}, device="cpu")
    np.testing.assert_allclose(ours(ranker)[:, [0, 1, 3]], theirs(tmp_path, "CrossEncoder")[:, [0, 1, 3]], atol=1e-5)
    with pytest.raises(ValueError, match=r"^a cross_encoder reads query and document together .* call score\("):
        ranker.encode(QUERIES, "query")


@pytest.mark.parametrize("name", ["dense-separate", "splade", "colbert", "cross-encoder-cls"])
def test_what_is_saved_again_scores_alike(name, make, tmp_path):
    student, collator = make(name)
    kind, options = STUDENTS[name]
    node = {"_target_": f"student/{kind}", **LENGTHS, **options}
    assemble.save(student, collator.tokenizer, tmp_path / "run" / "model", node, "r")
    ranker = load(tmp_path / "run", device="cpu")
    assert (ranker.kind, ranker.source) == (kind, str(tmp_path / "run"))
    np.testing.assert_allclose(ours(ranker), scores_of(student, collator), atol=1e-5)
    again = load(ranker.save(tmp_path / "saved"), device="cpu")
    np.testing.assert_allclose(ours(again), ours(ranker), atol=1e-5)
    assert "run" in (tmp_path / "saved" / "limbeck.json").read_text()


def test_sparse_and_multi_vector_encodings(make, tmp_path):
    for name in ("splade", "colbert"):
        pipeline(*make(name)).write(tmp_path / name)
    ranker = load(tmp_path / "splade", device="cpu")
    queries, documents = ranker.encode(QUERIES, "query"), ranker.encode(DOCUMENTS, "document")
    assert isinstance(queries, scipy.sparse.csr_array)
    np.testing.assert_allclose(ranker.scale * (queries @ documents.T).toarray(), ours(ranker), rtol=1e-5)
    assert ranker.encode([], "query").shape == (0, queries.shape[1])
    ranker = load(tmp_path / "colbert", device="cpu")
    queries, documents = ranker.encode(QUERIES, "query"), ranker.encode(DOCUMENTS, "document")
    assert [len(each) for each in queries] == [12, 12, 12]  # filled up with masks
    assert len(documents[0]) < len(documents[1])
    late = [[(query @ document.T).max(1).sum() for document in documents] for query in queries]
    np.testing.assert_allclose(ranker.scale * np.array(late), ours(ranker), rtol=1e-5)
    assert ranker.encode([], "document") == []


def test_a_plain_checkpoint_needs_a_kind(make, tokenizer, tmp_path):
    student, _ = make("splade")
    student.backbone.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"does not say what student it is; choose one: limbeck\.load\(.*splade"):
        load(tmp_path)
    ranker = load(tmp_path, student="splade", options=LENGTHS, device="cpu")
    assert isinstance(ranker.student.backbone, BertForMaskedLM)
    # Its documents' weights are those of the student that the checkpoint was taken from.
    assert (ranker.encode(DOCUMENTS, "document") > 0).sum() > 0
    with pytest.raises(ConfigError, match=r"classifier\.weight, which would be random"):
        load(tmp_path, student="cross_encoder")
    with pytest.raises(ConfigError, match=r"^student must be one of .*, got 'bm25'$"):
        load(tmp_path, student="bm25")


def test_ranks_as_trec_eval_orders_ties(dense):
    ranker = load(dense, device="cpu")
    documents = {"d1": DOCUMENTS[0], "d2": DOCUMENTS[1], "d10": DOCUMENTS[0], "d3": DOCUMENTS[3]}
    ranked = ranker.rank(QUERIES[0], documents)
    scores = dict(zip(documents, ranker.score(QUERIES[0], list(documents.values())), strict=True))
    assert ranked == sorted(scores.items(), key=lambda item: (item[1], item[0]), reverse=True)
    assert scores["d1"] == scores["d10"]
    assert [name for name, _ in ranked if name in ("d1", "d10")] == ["d10", "d1"]
    assert ranker.rank(QUERIES[0], documents, depth=2) == ranked[:2]
    assert (ranker.rank(QUERIES[0], {}), ranker.score(QUERIES[0], []).shape) == ([], (0,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ranker: ranker.encode("a text", "query"), r"^texts must be a list of texts, got one str$"),
        (lambda ranker: ranker.encode(["a"], "doc"), r"^role must be query or document, got 'doc'$"),
        (lambda ranker: ranker.encode([None], "query"), r"^texts must be texts, got a NoneType: None$"),
        (lambda ranker: ranker.score(["a"], ["b"]), r"^query must be one text, got list; call score once for each"),
        (lambda ranker: ranker.score("a", {"d": "b"}), r"^documents must be a list of texts, got one dict$"),
        (lambda ranker: ranker.rank("a", ["b"]), r"^documents must be a mapping of ids to texts, got list$"),
    ],
)
def test_wrong_calls(dense, call, message):
    with pytest.raises(ValueError, match=message):
        call(load(dense, device="cpu"))


def test_what_cannot_be_loaded_is_named(dense, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("")
    for where, options, message in (
        ("no/such/folder", {}, r"^there is no folder 'no/such/folder', and it is no name of a model on the hub$"),
        ("owner/name", {}, r"^model: the hub model 'owner/name' could not be loaded"),
        ("package:nothing_there/model", {}, "needs the Python package nothing_there, which is not installed"),
        (tmp_path / "run", {}, "^the run in .* has no model yet"),
        (tmp_path / "nothing", {}, r"holds no model: neither limbeck\.json nor modules\.json nor config\.json$"),
        (dense, {"student": "splade"}, "^student is 'splade', but .* holds a dense; leave student out$"),
        (dense, {"options": {"length": 3}}, "^options.length is no option of the student in the folder, a dense"),
    ):
        with pytest.raises(ConfigError, match=message):
            load(where, **options)
