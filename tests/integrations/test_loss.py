"""Losses of the registry on the scores of models of sentence-transformers."""

import importlib
import logging
import sys
from itertools import chain

import pytest
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Dense
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss
from sentence_transformers.sparse_encoder.losses import SpladeLoss
from tests.integrations.conftest import lists
from torch import nn

from limbeck.config import build, entries
from limbeck.integrations.sentence_transformers import DistillationLoss, ListColumns
from limbeck.integrations.sentence_transformers.scores import of_embeddings
from limbeck.losses.on_scores import on_scores
from limbeck.types import Batch, StudentOutput, Tokens

DATA = lists(5, 4, seed=8)
READS_MORE = {"flops", "l1", "embedding_mse", "embedding_cosine"}
ON_SCORES = sorted(name for kind, name in entries() if kind == "loss" and name not in READS_MORE)


def columns(model, data=DATA, numbers=("scores", "labels", "ranks")):
    """The columns of a batch and its label column, as the library's collator makes them."""
    kept = {name: rows for name, rows in data.items() if name in ("query", "documents", *numbers)}
    batch = ListColumns()(kept)
    label = torch.tensor(batch.pop("label"))
    return [model.preprocess(texts) for texts in batch.values()], label


def pairs(data=DATA, numbers=("scores", "labels", "ranks")):
    """The same of the collator of cross-encoders."""
    batch = ListColumns("lists")({name: data[name] for name in ("query", "documents", *numbers)})
    return [batch["query"], batch["documents"]], [torch.tensor(row) for row in batch["label"]]


def expected(name, scores, data=DATA, **options):
    """The loss of limbeck's own training."""
    mask = torch.ones_like(scores, dtype=torch.bool)
    scores_, labels, ranks = (torch.tensor(data[each]).float() for each in ("scores", "labels", "ranks"))
    nothing = Tokens(mask[:0], mask[:0])
    batch = Batch(None, nothing, mask.long(), mask, labels, scores_, ranks)
    return build({"_target_": f"loss/{name}", **options}, key="loss")(StudentOutput(scores), batch)


def similarities(model, data=DATA):
    found = [
        model.similarity(model.encode([query]), model.encode(documents))
        for query, documents in zip(data["query"], data["documents"], strict=True)
    ]
    return torch.cat(found)


def test_every_loss_on_scores_has_the_value_of_limbecks_training(model):
    _, _, dense = model("dense")
    scores = 0.5 * similarities(dense)
    inputs, label = columns(dense)
    for name in ON_SCORES:
        found = DistillationLoss(dense, name, scale=0.5)(inputs, label)
        torch.testing.assert_close(
            found.detach(), expected(name, scores), msg=lambda text, name=name: f"{name}: {text}"
        )


def test_a_label_column_of_one_number_a_document_is_the_teachers_scores(model):
    _, _, dense = model("dense")
    inputs, _ = columns(dense)
    found = DistillationLoss(dense, "kl")(inputs, torch.tensor(DATA["scores"]))
    torch.testing.assert_close(found.detach(), expected("kl", similarities(dense)))


def test_and_grades_for_a_loss_that_reads_no_teacher(model):
    _, _, dense = model("dense")
    inputs, _ = columns(dense)
    found = DistillationLoss(dense, "hinge")(inputs, torch.tensor(DATA["labels"]))
    torch.testing.assert_close(found.detach(), expected("hinge", similarities(dense)))


def test_without_grades_the_first_documents_are_the_positives(model):
    _, _, dense = model("dense")
    inputs, label = columns(dense, numbers=("scores", "ranks"))
    scores = similarities(dense)
    for positives in (1, 2):
        first = [[1.0] * positives + [0.0] * (4 - positives)] * 5
        found = DistillationLoss(dense, "ckl", positives=positives)(inputs, label)
        torch.testing.assert_close(found.detach(), expected("ckl", scores, DATA | {"labels": first}))
    # (query, positive, negative, …) without any number.
    found = DistillationLoss(dense, "info_nce")(inputs)
    first = DATA | {"labels": [[1.0, 0.0, 0.0, 0.0]] * 5}
    torch.testing.assert_close(found.detach(), expected("info_nce", scores, first))


def test_ranks_by_the_student(model):
    _, _, dense = model("dense")
    inputs, label = columns(dense, numbers=("scores", "labels"))
    found = DistillationLoss(dense, "ckl", ranks="student")(inputs, label)
    torch.testing.assert_close(found.detach(), expected("ckl", similarities(dense), rank_source="student"))


RAGGED = {name: [row[: 4 - place] for place, row in enumerate(rows[:3])] for name, rows in DATA.items()}
RAGGED["query"] = DATA["query"][:3]


def test_lists_of_different_lengths(model):
    _, _, dense = model("dense")
    _, _, cross = model("cross-encoder-head")
    for loaded, make in ((dense, lambda data: columns(dense, data)), (cross, pairs)):
        loss = DistillationLoss(loaded, "ckl")
        apart = [loss(*make({name: [rows[place]] for name, rows in RAGGED.items()})) for place in range(3)]
        torch.testing.assert_close(loss(*make(RAGGED)), torch.stack(apart).mean())


def test_a_cross_encoder_is_read_as_columns_too_and_by_its_logits(model, caplog):
    _, _, cross = model("cross-encoder-head")
    documents = [list(texts) for texts in zip(*DATA["documents"], strict=True)]
    logits = cross.predict([*zip(DATA["query"] * 4, chain(*documents), strict=True)], activation_fn=nn.Identity())
    cross.activation_fn = nn.Sigmoid()
    with caplog.at_level(logging.WARNING, logger="limbeck"):
        loss = DistillationLoss(cross, "ckl")
    assert "applies a sigmoid, after which scores above about 17 tie" in caplog.text
    found = loss([DATA["query"], *documents], pairs()[1])
    torch.testing.assert_close(found.detach(), expected("ckl", torch.from_numpy(logits).reshape(4, 5).T))


def test_scores_that_are_no_logits_are_refused(model):
    _, _, cross = model("cross-encoder-mean")
    last = list(cross.children())[-1]
    assert isinstance(last, Dense)
    last.activation_function = nn.Sigmoid()
    with pytest.raises(ValueError, match="model ends with Sigmoid: losses read raw logits"):
        DistillationLoss(cross)


def test_splade_loss_adds_its_regulariser(model):
    _, _, sparse = model("splade")
    inputs, label = columns(sparse)
    loss = DistillationLoss(sparse, "ckl", scale=0.1)
    found = SpladeLoss(sparse, loss, document_regularizer_weight=0.1, query_regularizer_weight=0.1)(inputs, label)
    torch.testing.assert_close(found["base_loss"], loss(inputs, label))


def test_matryoshka_loss_cuts_the_embeddings(model):
    _, _, dense = model("dense")
    inputs, label = columns(dense)
    loss = DistillationLoss(dense, "kl")
    embeddings = [dense(dict(each))["sentence_embedding"] for each in inputs]
    cut = [[nn.functional.normalize(each[:, :size], dim=-1) for each in embeddings] for size in (16, 8)]
    apart = sum(loss.compute_loss_from_embeddings(each, label) for each in cut)
    torch.testing.assert_close(MatryoshkaLoss(dense, loss, [16, 8])(inputs, label), apart)


@pytest.mark.parametrize("name", ["dense", "colbert"])
def test_under_autocast_similarities_are_products_of_float32(name, model):
    _, _, loaded = model(name)
    torch.manual_seed(3)
    vectors = torch.randn(4, 5, 6, 16).bfloat16()  # of queries, and of documents at three places
    masks = {"a_mask": torch.ones(5, 6, dtype=torch.bool), "b_mask": torch.ones(3, 5, 6, dtype=torch.bool)}
    if name == "dense":
        vectors, masks = vectors[:, :, 0], {}
    with torch.autocast("cpu", torch.bfloat16):
        found = of_embeddings(loaded, vectors[0], vectors[1:].unbind(), **masks)
    exact = of_embeddings(loaded, vectors[0].double(), vectors[1:].double().unbind(), **masks)
    torch.testing.assert_close(found, exact.float())


@on_scores
def scaled_mse(student, teacher, labels, mask, *, factor: float = 0.5):
    return factor * (teacher - student).square().mean(-1)


def test_a_function_of_the_users_own(model):
    _, _, dense = model("dense")
    loss = DistillationLoss(dense, scaled_mse, factor=2.0)
    inputs, label = columns(dense)
    difference = torch.tensor(DATA["scores"]) - similarities(dense)
    torch.testing.assert_close(loss(inputs, label).detach(), 2.0 * difference.square().mean())
    assert loss.get_config_dict() == {
        "loss": "scaled_mse",
        "factor": 2.0,
        "ranks": "data",
        "positives": 1,
        "scale": 1.0,
    }


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("kcl", {}, r"loss must be one of adr_mse, .*ckl.*, or a function, got 'kcl'"),
        ("ckl", {"gama": 5}, "gama is no option of ckl; it has gamma, alpha"),
        ("ckl", {"gamma": 1.0, "alpha": 2.0}, "gamma must be > alpha"),
        ("info_nce", {"temp": 5}, "temp is no option of info_nce; it has temperature"),
        ("info_nce", {"in_batch": True}, "info_nce reads embeddings, .*MultipleNegativesRankingLoss"),
        ("flops", {}, r"flops reads term_weights, .*SpladeLoss\(model, loss=DistillationLoss"),
        ("ckl", {"weight": 2.0}, "weight belongs to limbeck's objective"),
        ("ckl", {"ranks": "teacher"}, "ranks must be data or student, got 'teacher'"),
        ("ckl", {"positives": 0}, "positives must be >= 1, got 0"),
        ("ckl", {"scale": 0.0}, r"scale must be > 0, got 0\.0"),
    ],
)
def test_what_it_cannot_be_is_refused(name, options, told, model):
    _, _, dense = model("dense")
    with pytest.raises(ValueError, match=told):
        DistillationLoss(dense, name, **options)


def test_models_that_it_cannot_train_are_refused(model):
    student, _, _ = model("dense")
    with pytest.raises(ValueError, match=r"model must be a SentenceTransformer, .* got Dense"):
        DistillationLoss(student)
    several = CrossEncoder(modules=model("cross-encoder-head")[2].children(), device="cpu")
    several[0].model.config.num_labels = 2
    with pytest.raises(ValueError, match="model must be a CrossEncoder with num_labels=1, one score per pair, got 2"):
        DistillationLoss(several)


@pytest.mark.parametrize(
    ("numbers", "options", "told"),
    [
        (("labels", "ranks"), {}, "ckl reads the teacher's scores, which this batch does not have: .* column 'scores'"),
        (
            ("scores", "labels"),
            {},
            r"ckl reads the ranks of the documents.* column 'ranks'.* or set ranks='student'",
        ),
    ],
)
def test_numbers_that_the_loss_needs(numbers, options, told, model):
    _, _, dense = model("dense")
    with pytest.raises(ValueError, match=told):
        DistillationLoss(dense, "ckl", **options)(*columns(dense, numbers=numbers))


def test_a_batch_without_a_label_column(model):
    _, _, dense = model("dense")
    with pytest.raises(ValueError, match="kl reads the teacher's scores, which this batch does not have"):
        DistillationLoss(dense, "kl")(columns(dense)[0])


def test_label_columns_of_other_shapes(model):
    _, _, dense = model("dense")
    inputs, label = columns(dense)
    loss = DistillationLoss(dense, "kl")
    with pytest.raises(ValueError, match="query 0 of the batch has 4 documents and 3 numbers in its label column"):
        loss(inputs, torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"must hold a list for each query, .* got single numbers"):
        loss(inputs, torch.zeros(5))
    with pytest.raises(ValueError, match="the batch has 5 queries and 4 rows in its label column"):
        loss(inputs, label[:4])
    _, _, cross = model("cross-encoder-head")
    (queries, documents), label = pairs()
    with pytest.raises(ValueError, match="query 1 of the batch has 3 documents and 4 numbers"):
        DistillationLoss(cross, "kl")([queries, [documents[0], documents[1][:3], *documents[2:]]], label)
    with pytest.raises(ValueError, match="3 columns besides its label, and one of them does not hold texts"):
        DistillationLoss(cross, "kl")([queries, documents, DATA["ranks"]], label)


def test_without_the_library_the_extra_is_named(monkeypatch):
    for name in [name for name in sys.modules if name.startswith("limbeck.integrations")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sentence_transformers.multi_vector_encoder", None)
    with pytest.raises(ImportError, match=r"needs sentence-transformers 6\.2 or later: pip install 'limbeck\[sentence"):
        importlib.import_module("limbeck.integrations.sentence_transformers")
