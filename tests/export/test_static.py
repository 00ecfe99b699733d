"""Token vectors, averaged: read from both layouts, made from a transformer, trained, refused, exported, read again."""

import copy
import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from tests.export.conftest import DOCUMENTS, LENGTHS, QUERIES, collator_of, scores_of
from transformers import BertConfig, BertModel

from limbeck.backbones import tables
from limbeck.backbones.bags import StaticModel
from limbeck.backbones.encoded import vocabulary_vectors
from limbeck.backbones.static import Static
from limbeck.config import ConfigError, build
from limbeck.experiment import assemble
from limbeck.experiment.loading import load
from limbeck.export.modules import pipeline
from limbeck.students import context
from limbeck.students.dense import Dense
from limbeck.text.token_store import MOST
from limbeck.text.tokenizer import TextTokenizer

library = pytest.importorskip("sentence_transformers")

WIDTH = 6
TEXTS = [*QUERIES, *DOCUMENTS, "", "cats " * 150]


def vectors(size, seed=1):
    return np.random.default_rng(seed).normal(size=(size, WIDTH)).astype(np.float32)


def size_of(tokenizer):
    return max(tokenizer.get_vocab().values()) + 1


@pytest.fixture
def tokenizer(tokenizer):
    """One of its own: the library sets how long its texts may be."""
    own = copy.deepcopy(tokenizer)
    own.backend_tokenizer.no_truncation()
    own.backend_tokenizer.no_padding()
    return own


@pytest.fixture
def folder(tokenizer, tmp_path):
    """A folder of token vectors as sentence-transformers saves it."""
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    module = StaticEmbedding(tokenizer, embedding_weights=vectors(size_of(tokenizer)))
    library.SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / "static"))
    return tmp_path / "static"


@pytest.fixture
def model2vec(tokenizer, tmp_path):
    """A folder as model2vec saves it, its vocabulary made smaller: half as many vectors, which tokens share."""
    place, size = tmp_path / "model2vec", size_of(tokenizer)
    place.mkdir()
    rng = np.random.default_rng(2)
    parts = {"embeddings": vectors(size // 2), "mapping": rng.integers(0, size // 2, size), "weights": rng.random(size)}
    save_file(parts, place / "model.safetensors")
    tokenizer.backend_tokenizer.save(str(place / "tokenizer.json"))
    (place / "config.json").write_text(json.dumps({"model_type": "model2vec", "normalize": True}))
    return place, parts


@pytest.fixture
def make(folder, tokenizer):
    """Make a dense student on a folder of token vectors, and its collator."""

    def call(**options):
        torch.manual_seed(5)
        source = Static(model=str(folder))
        words = source.tokenizer(list, None)
        student = Dense(lambda task: source.model(words, task), **{**LENGTHS, **options}).eval()
        if student.query_backbone is not None:
            student.query_backbone.embedding.weight.data += torch.randn(size_of(tokenizer), WIDTH)
        return student, collator_of(student, words)

    return call


def ids_of(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


def test_a_text_is_the_mean_of_its_tokens():
    table = torch.randn(9, 4)
    words = [np.array(row) for row in ([3], [1, 1, 8], [], [2, 0, 5, 7])]
    tokens = TextTokenizer._padded(words, np.array([1, 3, 0, 4]), 4, 6)
    found = StaticModel(table)(tokens)
    wanted = torch.stack([table[3], (2 * table[1] + table[8]) / 3, torch.zeros(4), table[[2, 0, 5, 7]].mean(0)])
    torch.testing.assert_close(found, wanted)


def test_a_folder_of_sentence_transformers_encodes_as_there(folder):
    ranker = load(folder, device="cpu")
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(ranker.encode(TEXTS, "document"), theirs, atol=1e-6)
    assert ranker.student.style.document_length == MOST


def test_a_folder_of_model2vec_averages_weighted_vectors(model2vec, tokenizer):
    place, parts = model2vec
    for text, found in zip(TEXTS, load(place, device="cpu").encode(TEXTS, "query"), strict=True):
        rows = [parts["weights"][i] * parts["embeddings"][parts["mapping"][i]] for i in ids_of(tokenizer, text)]
        mean = np.mean(rows, axis=0) if rows else np.zeros(WIDTH)
        np.testing.assert_allclose(found, mean / max(np.linalg.norm(mean), 1e-12), atol=1e-6)


def test_texts_are_cut_where_the_tokenizer_of_a_folder_says(folder):
    words = json.loads((folder / "tokenizer.json").read_text())
    words["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (folder / "tokenizer.json").write_text(json.dumps(words))
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(load(folder, device="cpu").encode(TEXTS, "query"), theirs, atol=1e-6)


VARIANTS = {
    "one length": {"query_length": 20},
    "two lengths": {"query_prefix": "cats: ", "similarity": "cosine", "scale": 20.0},
    "towers": {"towers": "separate", "similarity": "cosine"},
    "layers": {"query_length": 20, "projection": 5, "activation": "tanh", "dimension": 3},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_an_export_scores_alike_in_the_library_and_read_again(make, tmp_path, name):
    student, collator = make(**VARIANTS[name])
    made = pipeline(student, collator)
    made.write(tmp_path / "out")
    model = library.SentenceTransformer(str(tmp_path / "out"), device="cpu")
    found = model.similarity(model.encode_query(QUERIES), model.encode_document(DOCUMENTS))
    torch.testing.assert_close(found * student.scale, scores_of(student, collator), atol=1e-5, rtol=1e-5)
    again = load(tmp_path / "out", options={"scale": student.scale}, device="cpu")
    np.testing.assert_allclose(
        [again.score(query, DOCUMENTS) for query in QUERIES], scores_of(student, collator), atol=1e-5
    )
    assert (tmp_path / "out" / "0_StaticEmbedding").is_dir() is (name in ("one length", "layers"))


def test_a_saved_student_is_what_it_was(make, tmp_path):
    student, collator = make(towers="separate", projection=4)
    node = {"_target_": "student/dense", "towers": "separate", "projection": 4, **LENGTHS}
    assemble.save(student, collator.tokenizer, tmp_path / "model", node, "id")
    again = load(tmp_path, device="cpu")
    np.testing.assert_allclose(
        [again.score(query, DOCUMENTS) for query in QUERIES], scores_of(student, collator), atol=1e-7
    )


@pytest.fixture
def encoder(tokenizer, tmp_path):
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    model = BertModel(BertConfig(vocab_size=len(tokenizer), initializer_range=0.5, **shape), False).eval()
    model.save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    return model


def alone(model, tokenizer):
    """What an encoder makes of each token that is no special one; their numbers."""
    words = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    words = [number for number in words if not tokenizer.convert_ids_to_tokens(number).startswith("[unused")]
    before, after = tokenizer.cls_token_id, tokenizer.sep_token_id
    with torch.inference_mode():
        found = [model(torch.tensor([[before, number, after]])).last_hidden_state[0].mean(0) for number in words]
    return torch.stack(found), words


def test_a_transformer_gives_its_vectors_of_single_tokens(encoder, tokenizer):
    wanted, words = alone(encoder, tokenizer)
    made = vocabulary_vectors(encoder, TextTokenizer(tokenizer), width=None, sif=None)
    torch.testing.assert_close(made[words], wanted, atol=1e-5, rtol=1e-5)
    assert (made[tokenizer.all_special_ids] == 0).all()
    weighted = vocabulary_vectors(encoder, TextTokenizer(tokenizer), width=None, sif=0.01)
    total = sum(1 / (place + 2) for place in range(len(words)))
    for place, number in enumerate(words):
        weight = 0.01 / (0.01 + 1 / (place + 2) / total)
        torch.testing.assert_close(weighted[number], wanted[place] * weight, atol=1e-5, rtol=1e-5)


def test_principal_components_keep_the_most_variance(encoder, tokenizer):
    wanted, words = alone(encoder, tokenizer)
    centred = (wanted - wanted.mean(0)).double()
    made = vocabulary_vectors(encoder, TextTokenizer(tokenizer), width=3, sif=None)[words].double()
    strengths = torch.linalg.svdvals(centred)
    torch.testing.assert_close(made.T @ made, torch.diag(strengths[:3] ** 2), atol=1e-3, rtol=1e-3)
    whole = vocabulary_vectors(encoder, TextTokenizer(tokenizer), width=16, sif=None)[words].double()
    torch.testing.assert_close(whole @ whole.T, centred @ centred.T, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"^width must be <= 16, "):
        vocabulary_vectors(encoder, TextTokenizer(tokenizer), width=17, sif=None)


def test_vectors_of_a_transformer_are_made_once(encoder, tmp_path, artefacts):
    made = []

    def source(**options):
        backbone = Static(model=str(tmp_path / "bert"), **options)
        words = backbone.tokenizer(list, artefacts.folder)
        made.append(backbone.model(words, "encoder").embedding.weight)
        return backbone.path

    places = [source(), source(), source(width=4)]
    assert places[0] == places[1] != places[2]
    assert torch.equal(made[0], made[1])
    assert tables.is_table(tmp_path / "cache" / "vectors" / places[0].rpartition("/")[2])


def test_random_vectors(encoder, tmp_path, artefacts):
    backbone = Static(model=str(tmp_path / "bert"), random=True, width=5)
    words = backbone.tokenizer(list, artefacts.folder)
    model = backbone.model(words, "encoder")
    assert model.embedding.weight.shape == (size_of(words.tokenizer), 5)
    assert backbone.path is None
    trained = Static(vocab_size=40)
    words = trained.tokenizer(lambda: DOCUMENTS, artefacts.folder)
    assert trained.model(words, "encoder").config.hidden_size == 256
    assert words.single_overhead == words.pair_overhead == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 0}, "width must be >= 1 or null"),
        ({"sif": 0.0}, "sif must be > 0 or null"),
        ({"vocab_size": 0}, "vocab_size must be in 1 … "),
    ],
)
def test_senseless_options(options, message):
    with pytest.raises(ConfigError, match=rf"^backbone\.{message}"):
        build({"_target_": "backbone/static", **options}, key="backbone")


def test_a_table_keeps_its_width(folder):
    with pytest.raises(ValueError, match=r"^width cannot change the vectors in .*student\.dimension cuts"):
        Static(model=str(folder), width=3)


def test_a_table_that_lacks_tokens_is_refused(folder, tokenizer):
    from safetensors.torch import save_file

    save_file({tables.VECTORS: torch.zeros(7, 2)}, folder / "model.safetensors")
    with pytest.raises(ConfigError, match=rf"has a token {size_of(tokenizer) - 1}, but there are 7 vectors"):
        load(folder, device="cpu")


@pytest.mark.parametrize("kind", ["splade", "colbert", "cross_encoder"])
def test_students_that_read_tokens_in_context_are_refused_with_the_reason(kind):
    student, backbone = {"_target_": f"student/{kind}"}, {"_target_": "backbone/static"}
    reason = {"splade": "masked language", "colbert": "vectors of single tokens", "cross_encoder": "together"}[kind]
    with pytest.raises(ConfigError, match=rf"^teacher\.student={kind} needs .*{reason}.* teacher\.student=dense"):
        context.check(student, backbone, "teacher.")
    context.check({"_target_": "student/dense"}, backbone)


def test_a_first_token_is_no_vector_of_a_text(make):
    with pytest.raises(ValueError, match=r"^pooling must be mean for a static backbone"):
        make(pooling="cls")


def test_queries_and_documents_are_read_in_one_way(make, tmp_path):
    student, collator = make(towers="separate")
    pipeline(student, collator).write(tmp_path / "out")
    file = tmp_path / "out" / "router_config.json"
    file.write_text(file.read_text().replace("static_embedding.StaticEmbedding", "transformer.Transformer", 1))
    with pytest.raises(ConfigError, match="queries are read by a Transformer, documents by a StaticEmbedding"):
        load(tmp_path / "out", device="cpu")
