"""Decoders as students: Qwen3, Llama and Gemma score as plain transformers does, text by text, and learn."""

import logging

import numpy as np
import pytest
import torch
import transformers
from tests.students.test_backbones import write as write_encoder

from limbeck.backbones.backbone import pool, save
from limbeck.backbones.chunks import chunks_of
from limbeck.backbones.packing import states
from limbeck.backbones.pretrained import Pretrained
from limbeck.backbones.sources import load_tokenizer
from limbeck.backbones.sub_batches import compiled, inputs
from limbeck.config import ConfigError
from limbeck.evaluation.ranking import search
from limbeck.experiment import assemble
from limbeck.inference import score_lists
from limbeck.losses.ckl import ckl
from limbeck.losses.kl import kl
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.saved import Saved
from limbeck.students.splade import Splade
from limbeck.text.collate import Collator
from limbeck.types import Tokens
from tiny_decoders import (
    DOCUMENTS,
    END,
    FAMILIES,
    LENGTHS,
    QUERIES,
    START,
    TEXTS,
    collator_of,
    examples,
    frame,
    scores_of,
    tokenizer,
    write,
)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture(scope="module")
def checkpoint(family, tmp_path_factory):
    return write(family, tmp_path_factory.mktemp(family))


@pytest.fixture(scope="module")
def classifier(family, tmp_path_factory):
    return write(family, tmp_path_factory.mktemp(f"{family}-classifier"), "ForSequenceClassification", num_labels=1)


@pytest.fixture(scope="module")
def llama(tmp_path_factory):
    return write("Llama", tmp_path_factory.mktemp("llama"))


def build(kind, folder, options=None, *, trains=False, **backbone):
    """Return a student over a checkpoint, and its collator over QUERIES and DOCUMENTS."""
    source = Pretrained(model=str(folder), **backbone)
    words = source.tokenizer(list, None)
    torch.manual_seed(0)
    made = kind(lambda task: source.model(words, task, trains=trains), **{**LENGTHS, **(options or {})}).eval()
    return made, collator_of(made, words)


def alone(model, ids):
    """Return the states of one text as plain transformers computes them, (T, D)."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).last_hidden_state[0]


def cut(words, text, length):
    return words(text, truncation=True, max_length=length)["input_ids"]


def plain_scores(folder, pooling, prefix=""):
    """Return all inner products of pooled states of plain transformers, each text read alone by its own tokenizer."""
    words = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModel.from_pretrained(folder, dtype=torch.float32).eval()

    def vector(text, length):
        found = alone(model, cut(words, text, length))
        return found[-1] if pooling == "last" else found.mean(0)

    queries = torch.stack([vector(prefix + text, LENGTHS["query_length"]) for text in QUERIES.values()])
    documents = torch.stack([vector(text, LENGTHS["document_length"]) for text in DOCUMENTS.values()])
    return queries @ documents.T


# One vector a text


@pytest.mark.parametrize(
    ("family", "pooling"), [*((family, "last") for family in FAMILIES), ("Llama", "mean")], indirect=["family"]
)
def test_dense_scores_are_those_of_plain_transformers_text_by_text(checkpoint, pooling):
    student, collator = build(Dense, checkpoint, {"pooling": pooling, "query_prefix": "Query: "})
    found, wanted = scores_of(student, collator), plain_scores(checkpoint, pooling, "Query: ")
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert found.std() > 1e-2
    lists = {query: list(DOCUMENTS) for query in QUERIES}
    inferred = score_lists(student, collator, lists)
    torch.testing.assert_close(torch.tensor(np.stack([inferred[q] for q in QUERIES])), found, atol=1e-5, rtol=1e-5)
    searched = search(student, collator, list(QUERIES), list(DOCUMENTS), 3)
    for row, query in zip(found.tolist(), QUERIES, strict=True):
        best = sorted(zip(row, DOCUMENTS, strict=True), reverse=True)[:3]
        assert searched[query].ids == [document for _, document in best]
        np.testing.assert_allclose(searched[query].scores, [score for score, _ in best], atol=1e-5, rtol=1e-5)


def left(tokens):
    """Return the same texts with their padding on the left."""
    order = tokens.attention_mask.argsort(dim=1, stable=True)
    return Tokens(tokens.input_ids.gather(1, order), tokens.attention_mask.gather(1, order))


def test_padding_on_the_right_is_padding_on_the_left(checkpoint):
    student, collator = build(Dense, checkpoint)
    tokens = collator.pad(collator.document_rows(list(DOCUMENTS)), "document")
    other = left(tokens)
    assert other.attention_mask[0, 0] == 0
    assert other.attention_mask[:, -1].all()
    positions = (other.attention_mask.cumsum(1) - 1).clamp(min=0)
    with torch.no_grad():
        found = pool(states(student.backbone, tokens), tokens, "last")
        for given in ({"position_ids": positions}, {}):  # positions are relative: their start changes nothing
            theirs = student.backbone(**inputs(student.backbone, other), **given).last_hidden_state
            torch.testing.assert_close(found, pool(theirs, other, "last"), atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(found, theirs[:, -1], atol=1e-5, rtol=1e-5)


def test_a_later_token_changes_an_earlier_state_where_attention_is_bidirectional(checkpoint, tmp_path):
    def changed(model, lengths):
        ids = torch.tensor([[5, 6, 7, 8, 9], [5, 6, 7, 8, 30]])
        tokens = Tokens(torch.cat([ids, ids]), torch.ones(4, 5, dtype=torch.long), lengths=lengths)
        tokens.attention_mask[2:, -1] = 0
        with torch.no_grad():
            found = states(model.eval(), tokens)
        return [not torch.allclose(found[i, 0], found[i + 1, 0], atol=1e-6) for i in (0, 2)]

    for lengths in ([5, 5, 4, 4], None):
        assert changed(build(Dense, checkpoint)[0].backbone, lengths) == [False, False]
        student, collator = build(Dense, checkpoint, bidirectional=True)
        assert changed(student.backbone, lengths) == [True, False]  # padding changes nothing
    save(student, collator.tokenizer, tmp_path)
    assert changed(transformers.AutoModel.from_pretrained(tmp_path), None) == [True, False]
    build(Dense, checkpoint, {"pooling": "cls"}, bidirectional=True)


def test_who_cannot_read_both_ways(tmp_path):
    write_encoder("Bert", tmp_path / "bert")
    with pytest.raises(ConfigError, match=r"^bidirectional: .* is an encoder, which reads both ways; set it to false"):
        build(Dense, tmp_path / "bert", bidirectional=True)
    words = tokenizer("Llama")
    words.save_pretrained(tmp_path)
    config = transformers.MambaConfig(vocab_size=len(words), hidden_size=8, state_size=4, num_hidden_layers=1)
    transformers.MambaModel(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"^bidirectional: .* 'mamba', whose attention stays causal"):
        build(Dense, tmp_path, bidirectional=True)


# Start, end and padding


@pytest.mark.parametrize("end_token", [False, True])
def test_the_end_token_comes_once(family, checkpoint, tmp_path, end_token):
    before, after = frame(family)
    student, collator = build(Dense, checkpoint, end_token=end_token)
    after = [END] if end_token else after
    row = collator.document_rows(["d1"])[0].tolist()
    assert row[: len(before)] == before
    assert row[len(row) - len(after) :] == after
    assert row.count(START) + row.count(END) == len(before) + len(after)
    for name in ("d2", "d4"):  # cut, and short
        (row,) = collator.document_rows([name])
        assert len(row) <= LENGTHS["document_length"]
        assert row[len(row) - len(after) :].tolist() == after
    save(student, collator.tokenizer, tmp_path)
    again = transformers.AutoTokenizer.from_pretrained(tmp_path)
    assert again("a night")["input_ids"] == collator.tokenizer.tokenizer("a night")["input_ids"]
    assert again("a", "night")["input_ids"][-1:] == (after or again("night")["input_ids"][-1:])
    assert load_tokenizer(str(tmp_path), end_token=end_token).single_overhead == len(before) + len(after)


def test_an_end_token_that_is_not_there(tmp_path):
    write_encoder("Bert", tmp_path)
    with pytest.raises(ConfigError, match=r"^end_token: the tokenizer of .* has no end token \(eos_token\)"):
        build(Dense, tmp_path, end_token=True)


def test_texts_of_nothing(llama):
    """Without special tokens there would be nothing to read."""
    words = tokenizer("Llama")
    words.backend_tokenizer.post_processor = None
    words.pad_token = "<|pad|>"
    words.save_pretrained(llama.parent / "bare")
    plain = load_tokenizer(str(llama.parent / "bare"))
    for kind, options in ((Dense, {"pooling": "last"}), (CrossEncoder, {"pooling": "last"})):
        student, _ = build(kind, llama, options)
        empty = Collator(plain, student.style, lambda ids: [""] * len(ids), lambda ids: [""] * len(ids))
        assert scores_of(student, empty).isfinite().all()


# Adapters, and what trains


def test_a_decoder_trains_adapters_unless_all_its_weights_are_asked_for(checkpoint, caplog, monkeypatch):
    def training(**given):
        student, _ = build(Dense, checkpoint, **{"trains": True, **given})
        return [name for name, value in student.named_parameters() if value.requires_grad], student

    caplog.set_level(logging.INFO)
    names, _ = training()
    assert names
    assert all("lora_" in name for name in names)
    assert f"{checkpoint}: a decoder, so adapters are trained; backbone.lora=false trains all weights" in caplog.text
    caplog.clear()
    for given in ({"lora": False}, {"trains": False}):
        names, student = training(**given)
        assert len(names) == len(student.state_dict())
        assert not any("lora_" in name for name in names)
    names, _ = training(lora={"rank": 1, "targets": ["q_proj"]})
    assert {name.split(".lora_")[0].rpartition(".")[2] for name in names} == {"q_proj"}
    assert "backbone.lora=false" not in caplog.text
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(
        ConfigError, match=r"pip install 'limbeck\[lora\]'; or set lora=false, which trains all weights"
    ):
        training()


def test_the_learning_rate_suits_adapters(llama, tmp_path):
    write_encoder("Bert", tmp_path)
    rates = [
        Pretrained(model=str(model), lora=lora).learning_rate
        for model in (llama, tmp_path)
        for lora in (None, {}, False)
    ]
    assert rates == [1e-4, 1e-4, 2e-5, 2e-5, 2e-5, 2e-5]


STUDENTS = {
    "dense": (Dense, {"pooling": "last", "similarity": "cosine", "scale": 20.0}),
    "cross_encoder": (CrossEncoder, {"pooling": "head"}),
}


@pytest.mark.parametrize(
    ("family", "kind", "loss"),
    [*((family, "dense", ckl) for family in FAMILIES), ("Llama", "cross_encoder", kl)],
    indirect=["family"],
)
def test_training_lowers_the_loss_through_the_adapters(checkpoint, kind, loss):
    made, options = STUDENTS[kind]
    student, collator = build(made, checkpoint, options, trains=True)
    student.train()
    batch = collator(examples())
    torch.manual_seed(1)
    teacher = torch.randn(batch.index.shape)
    ranks = torch.arange(1, teacher.shape[1] + 1).expand_as(teacher).float()
    more = {"ranks": ranks} if loss is ckl else {}
    optimiser = torch.optim.Adam([p for p in student.parameters() if p.requires_grad], lr=5e-3)
    values = []
    for step in range(6):
        value = loss(student(batch).scores, teacher, batch.labels, batch.mask, **more).mean()
        values.append(value.item())
        optimiser.zero_grad()
        value.backward()
        if step == 1:  # at the start B is zero, and so is the gradient of A
            grads = [p.grad for name, p in student.named_parameters() if "lora_" in name]
            assert all(grad is not None and grad.abs().max() > 0 for grad in grads)
        optimiser.step()
    assert values[-1] < 0.9 * values[0], values
    frozen = [name for name, p in student.named_parameters() if p.grad is None]
    assert any("embed_tokens" in name for name in frozen)


def gradients(student, batch, chunk=None):
    student.zero_grad()
    with chunks_of(chunk):
        value = student(batch).scores.sin().sum()
    value.backward()
    return value.item(), {name: p.grad.clone() for name, p in student.named_parameters() if p.grad is not None}


def close(ours, theirs):
    assert ours[0] == pytest.approx(theirs[0], abs=1e-5)
    assert ours[1].keys() == theirs[1].keys()
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, atol=1e-5, rtol=1e-4)


def test_gradients_of_chunks_and_of_checkpointed_layers_are_those_of_the_whole_batch(checkpoint):
    given = {"options": {"pooling": "last", "similarity": "cosine"}, "lora": False}
    student, collator = build(Dense, checkpoint, **given)
    batch = collator(examples())
    wanted = gradients(student.train(), batch)
    close(gradients(student, batch, chunk=2), wanted)
    close(gradients(build(Dense, checkpoint, gradient_checkpointing=True, **given)[0].train(), batch), wanted)


def test_first_layers_and_dropout(checkpoint):
    student, collator = build(Dense, checkpoint)
    tokens = collator.pad(collator.document_rows(["d1", "d3"]), "document")
    short = build(Dense, checkpoint, layers=1)[0].backbone
    real = tokens.attention_mask.bool()
    with torch.no_grad():
        wanted = student.backbone(**inputs(student.backbone, tokens), output_hidden_states=True).hidden_states[1]
        torch.testing.assert_close(
            states(short, tokens)[real], student.backbone.norm(wanted)[real], atol=1e-5, rtol=1e-5
        )
    with pytest.raises(ConfigError, match=r"layers must be <= 2, the depth of"):
        build(Dense, checkpoint, layers=3)
    dropped = build(Dense, checkpoint, dropout=0.5)[0].backbone
    assert dropped.config.attention_dropout == 0.5
    with torch.no_grad():
        assert not torch.equal(states(dropped.train(), tokens), states(dropped, tokens))
        assert torch.equal(states(dropped.eval(), tokens), states(dropped, tokens))


def test_bfloat16_stays_near(checkpoint):
    student, collator = build(Dense, checkpoint, {"pooling": "last", "similarity": "cosine"})
    wanted = scores_of(student, collator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = scores_of(student, collator)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, wanted, atol=0.05, rtol=0)


# Query and document read together


def pair(words, query, document):
    """Return a pair as its tokenizer writes it, each text cut to its own length."""
    queries, documents = ((words(t, add_special_tokens=False)["input_ids"]) for t in (query, document))
    queries, documents = queries[: LENGTHS["query_length"]], documents[: LENGTHS["document_length"]]
    marks = words("a", "a")["input_ids"]
    (mark,) = words("a", add_special_tokens=False)["input_ids"]
    return [t for n, t in enumerate(marks) if t == mark] and [
        *marks[: marks.index(mark)], *queries, *documents, *marks[marks.index(mark) + 2 :]
    ]  # fmt: skip


def test_cross_encoder_scores_are_those_of_plain_transformers_pair_by_pair(classifier):
    words = transformers.AutoTokenizer.from_pretrained(classifier)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(classifier, dtype=torch.float32).eval()
    model.config.pad_token_id = load_tokenizer(str(classifier)).pad_id  # the checkpoint names none
    student, collator = build(CrossEncoder, classifier, {"pooling": "head"})
    assert student.backbone.config.pad_token_id == collator.tokenizer.pad_id
    with torch.no_grad():
        wanted = [
            [model(torch.tensor([pair(words, query, document)])).logits.item() for document in DOCUMENTS.values()]
            for query in QUERIES.values()
        ]
    found = scores_of(student, collator)
    torch.testing.assert_close(found, torch.tensor(wanted), atol=1e-5, rtol=1e-5)
    assert found.std() > 1e-2
    inferred = score_lists(student, collator, {"q1": list(DOCUMENTS)})["q1"]
    np.testing.assert_allclose(inferred, found[1].numpy(), atol=1e-5, rtol=1e-5)


def test_the_last_token_is_found_whatever_padding_is_filled_with(classifier):
    """Compiled models read shapes of a few widths, filled up with zeros."""
    student, collator = build(CrossEncoder, classifier, {"pooling": "head"})
    tokens = collator(examples()).documents
    wider = tokens.rows(range(len(tokens)), tokens.input_ids.shape[1] + 5)
    assert not wider.input_ids[:, -1].any()
    wider.lengths = None
    with torch.no_grad():
        torch.testing.assert_close(student.score_pairs(wider), student.score_pairs(tokens), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(student.score_pairs(left(wider)), student.score_pairs(tokens), atol=1e-5, rtol=1e-5)


def test_gemma_2_is_compiled_with_the_attention_it_has(tmp_path):
    student, _ = build(Dense, write("Gemma2", tmp_path))
    compiled(student, backend="eager")
    assert student.backbone.config._attn_implementation == "eager"


def test_two_labels_are_subtracted(family, tmp_path):
    write(family, tmp_path, "ForSequenceClassification", num_labels=2)
    student, collator = build(CrossEncoder, tmp_path, {"pooling": "head", "labels": "difference"})
    tokens = collator.pad_pairs([(collator.query_rows(["q1"])[0], collator.document_rows(["d1"])[0])])
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    model.config.pad_token_id = collator.tokenizer.pad_id
    with torch.no_grad():
        logits = model(tokens.input_ids).logits[0]
        torch.testing.assert_close(student.score_pairs(tokens)[0], logits[1] - logits[0], atol=1e-5, rtol=1e-5)


TEMPLATE = {
    "query_prefix": "<|start|>judge\n<Query>: ",
    "query_suffix": "\n",
    "document_prefix": "<Document>: ",
    "document_suffix": "<|end|>\n\n",
}


def test_templates_are_those_of_the_joined_texts_and_never_cut(llama):
    options = TEMPLATE | {"query_length": 40, "document_length": 30}
    source = Pretrained(model=str(llama))
    words = source.tokenizer(list, None)
    student = CrossEncoder(lambda task: source.model(words, task, trains=False), **options)
    collator = collator_of(student, words)
    for role, names, rows in (
        ("query", QUERIES, collator.query_rows(list(QUERIES))),
        ("document", DOCUMENTS, collator.document_rows(list(DOCUMENTS))),
    ):
        for name, row in zip(names, rows, strict=True):
            text = TEMPLATE[f"{role}_prefix"] + TEXTS[name] + TEMPLATE[f"{role}_suffix"]
            whole = words.plain([text])[0].tolist()
            if role == "document" and len(whole) > 30:
                suffix = words.plain([TEMPLATE["document_suffix"]])[0].tolist()
                whole = whole[: 30 - len(suffix)] + suffix
            assert row.tolist() == whole
    with pytest.raises(
        ConfigError, match=r"document_length: 3 tokens leave no room for a word before the 3 of document"
    ):
        collator.styled(CrossEncoder(lambda task: source.model(words, task), **TEMPLATE, document_length=3).style)


# What makes no sense


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (Splade, {}, r"^model: .* is a decoder \(llama\), but a sparse student needs a masked language model"),
        (Dense, {"pooling": "cls"}, "pooling=cls reads the first token, which in a decoder attends to no other"),
        (CrossEncoder, {"pooling": "cls"}, "pooling=cls reads the first token, which in a decoder attends to no other"),
        (ColBERT, {}, "student.query_augment needs a mask token, which this tokenizer lacks; set it to false"),
    ],
)
def test_students_that_a_decoder_cannot_be(llama, kind, options, message):
    with pytest.raises(ValueError, match=message):
        build(kind, llama, options)


def test_models_of_more_than_text_and_layers_without_adapters(llama, tmp_path):
    text = transformers.Gemma3TextConfig(**FAMILIES["Gemma3Text"]).to_dict()
    transformers.Gemma3Config(text_config=text).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"'gemma3', (which reads more than text|neither an encoder)"):
        Pretrained(model=str(tmp_path)).model(load_tokenizer(str(llama)), "encoder")
    words = load_tokenizer(str(llama))
    config = transformers.GPT2Config(vocab_size=len(words.tokenizer), n_embd=8, n_layer=1, n_head=2)
    transformers.GPT2Model(config).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"^lora\.targets: GPT2Model has no linear layer that could get an adapter"):
        Pretrained(model=str(tmp_path)).model(words, "encoder")


# Saved


def test_what_is_saved_scores_alike(checkpoint, tmp_path):
    """Adapters that have learned something are merged; end token and attention are kept."""
    options = {"pooling": "last", "similarity": "cosine", "scale": 20.0}
    student, collator = build(Dense, checkpoint, options, trains=True, bidirectional=True, end_token=True)
    for name, parameter in student.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    node = {"_target_": "student/dense", **LENGTHS, **options}
    assemble.save(student, collator.tokenizer, tmp_path, node, "run")
    nodes = Saved(folder=str(tmp_path)).nodes({})
    again, words = assemble.saved(nodes.student, nodes.backbone)
    assert not any("lora_" in name for name in again.state_dict())
    found = scores_of(again, collator_of(again, words))
    torch.testing.assert_close(found, scores_of(student, collator), atol=2e-5, rtol=1e-5)
    assert not torch.allclose(found, scores_of(*build(Dense, checkpoint, options)), atol=1e-2)
