"""Folders in the layouts that people have: what is read scores as sentence-transformers does, the rest is refused."""

import json
import logging
import string

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.export.conftest import DOCUMENTS, QUERIES, collator_of, scores_of
from tokenizers import normalizers
from transformers import BertConfig, BertForSequenceClassification

from limbeck.backbones import backbone
from limbeck.config import ConfigError
from limbeck.experiment import assemble
from limbeck.experiment.export import export
from limbeck.export.modules import pipeline
from limbeck.students.saved import Saved

library = pytest.importorskip("sentence_transformers")

WIDTH = 16
MODEL = "sentence_transformers.models."
PYLATE = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 12, "document_length": 20}


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def folder(make, tokenizer, tmp_path):
    """Write a folder of sentence-transformers; ``files`` are merged over those of a plain dense model."""

    def call(modules=("Transformer", "Pooling"), told=None, sbert=None, cased=False, tokens=(), **files):
        student, _ = make("dense")
        student.backbone.save_pretrained(tmp_path)
        words = tokenizer
        if cased or tokens:
            words = type(tokenizer).from_pretrained(tokenizer.name_or_path)
            if cased:
                words.backend_tokenizer.normalizer = normalizers.BertNormalizer(lowercase=False)
            words.add_tokens(list(tokens))
            student.backbone.resize_token_embeddings(len(words))
            student.backbone.save_pretrained(tmp_path)
        words.save_pretrained(tmp_path)
        listed = []
        for number, name in enumerate(modules):
            kind = name if "." in name else MODEL + name
            path = "" if number == 0 else f"{number}_{kind.rpartition('.')[2]}"
            listed.append({"idx": number, "name": str(number), "path": path, "type": kind})
            if kind.endswith("Dense"):
                torch.manual_seed(number)
                weights = {"linear.weight": torch.randn(8, WIDTH)}
                given = files.get(path, {})
                if given.get("bias", True):
                    weights["linear.bias"] = torch.randn(8)
                write(tmp_path / path / "config.json", {"in_features": WIDTH, "out_features": 8, **given})
                save_file(weights, tmp_path / path / "model.safetensors")
            elif kind.endswith("Pooling"):
                given = files.get(path, {"pooling_mode_mean_tokens": True})
                write(tmp_path / path / "config.json", {"word_embedding_dimension": WIDTH, **given})
        write(tmp_path / "modules.json", listed)
        write(tmp_path / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False, **(sbert or {})})
        write(tmp_path / "config_sentence_transformers.json", {"__version__": {}, **(told or {})})
        return tmp_path

    return call


def read(folder, **options):
    nodes = Saved(folder=str(folder), options=options).nodes({})
    student, words = assemble.saved(nodes.student, nodes.backbone)
    return student.eval(), collator_of(student, words)


def both(folder, kind="SentenceTransformer", queries=QUERIES, **options):
    """All scores as the library and as limbeck compute them."""
    model = getattr(library, kind)(str(folder), device="cpu")
    if kind == "CrossEncoder":
        pairs = [(query, document) for query in QUERIES for document in DOCUMENTS]
        theirs = torch.tensor(model.predict(pairs)).view(len(QUERIES), len(DOCUMENTS))
    else:
        kept = {} if kind == "MultiVectorEncoder" else {"convert_to_tensor": True}
        theirs = model.similarity(model.encode_query(queries, **kept), model.encode_document(DOCUMENTS, **kept))
    return theirs.cpu().float(), scores_of(*read(folder, **options))


TANH = {"activation_function": "torch.nn.modules.activation.Tanh"}
DENSE = ("Transformer", "Pooling", "Dense", "Normalize")


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"told": {"similarity_fn_name": None}},
        {"told": {"similarity_fn_name": "dot"}},
        {"told": {"similarity_fn_name": "maxsim"}},  # passed over there: cosine
        {"sbert": {"do_lower_case": True}, "cased": True},
        {"sbert": {"max_seq_length": 6}},
        {"sbert": {"max_seq_length": None}},  # as many as the model has positions
        {"told": {"prompts": {"query": "a dog ", "document": "at sea "}}},
        {"told": {"prompts": {"query": "a dog ", "corpus": "at sea "}}},
        {"told": {"prompts": {"passage": "a dog ", "sts": "at sea "}, "default_prompt_name": "sts"}},
        {"1_Pooling": {"pooling_mode_cls_token": True}},
        {"1_Pooling": {"pooling_mode_cls_token": False}},  # none at all: the mean
        {"1_Pooling": {"pooling_mode_lasttoken": True}},
        {"1_Pooling": {"pooling_mode": ["cls"]}},
        {"modules": DENSE, "2_Dense": TANH},
        {"modules": DENSE[:3], "told": {"similarity_fn_name": "dot"}},  # Tanh and a bias, where nothing is said
        {"modules": DENSE, "2_Dense": {"bias": False, "activation_function": "torch.nn.modules.activation.GELU"}},
        {"told": {"truncate_dim": 5}},
        {"told": {"truncate_dim": 500}},
        {"modules": DENSE, "2_Dense": TANH, "told": {"truncate_dim": 3}},
    ],
    ids=str,
)
def test_dense_folders_score_as_the_library_does(given, folder):
    theirs, ours = both(folder(**given))
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert theirs.std() > 1e-3


def test_legacy_names_of_the_file_of_a_transformer_are_read(folder):
    path = folder()
    (path / "sentence_bert_config.json").unlink()
    write(path / "sentence_roberta_config.json", {"max_seq_length": 5})
    theirs, ours = both(path)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("told", "tokens"),
    [
        (PYLATE, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT"}, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT"}, []),  # prefixes that are no tokens are text
        (PYLATE | {"model_type": "ColBERT", "query_prefix": "[unused0]", "document_prefix": "[unused1]"}, []),
        (PYLATE | {"model_type": "ColBERT", "skiplist_words": ["cats", ",", "[UNK]", "nothing"]}, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT", "skiplist_words": [*string.punctuation, "cats"]}, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT", "skiplist_words": []}, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT", "attend_to_expansion_tokens": True}, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT", "do_query_expansion": False}, ["[Q] ", "[D] "]),
        (PYLATE | {"model_type": "ColBERT", "prompts": {"query": "a dog "}}, ["[Q] ", "[D] "]),
        ({"model_type": "ColBERT"}, []),
    ],
    ids=str,
)
def test_pylate_folders_score_as_the_library_does(told, tokens, folder):
    modules = ("Transformer", "pylate.models.Dense.Dense")
    plain = {"bias": False, "activation_function": "torch.nn.modules.linear.Identity"}
    path = folder(modules, told, tokens=tokens, **{"1_Dense": plain})
    theirs, ours = both(path, "MultiVectorEncoder")
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert type(read(path)[0]).__name__ == "ColBERT"
    assert theirs.std() > 1e-3


def classifier(folder, tokenizer, labels=1, told=None, config=None):
    """Write a CrossEncoder folder over a classifier of so many labels."""
    torch.manual_seed(3)
    shape = {"hidden_size": WIDTH, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    own = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, num_labels=labels, **shape)
    own.update({"initializer_range": 0.3, **(config or {})})
    BertForSequenceClassification(own).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    write(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": MODEL + "Transformer"}])
    write(folder / "sentence_bert_config.json", {"transformer_task": "sequence-classification", "max_seq_length": 60})
    write(folder / "config_sentence_transformers.json", {"model_type": "CrossEncoder", **(told or {})})
    return folder


IDENTITY, SIGMOID = "torch.nn.modules.linear.Identity", "torch.nn.modules.activation.Sigmoid"


@pytest.mark.parametrize(
    ("told", "config", "activation"),
    [
        ({"activation_fn": IDENTITY}, {}, "identity"),
        ({"activation_fn": SIGMOID}, {}, "sigmoid"),
        ({}, {}, "sigmoid"),
        ({}, {"sbert_ce_default_activation_function": IDENTITY}, "identity"),
        ({}, {"sentence_transformers": {"activation_fn": IDENTITY}}, "identity"),
        ({"prompts": {"query": "a dog "}, "default_prompt_name": None}, {}, "sigmoid"),
    ],
    ids=str,
)
def test_cross_encoders_score_as_the_library_does(told, config, activation, tokenizer, tmp_path):
    path = classifier(tmp_path, tokenizer, 1, told, config)
    theirs, ours = both(path, "CrossEncoder", query_length=12, document_length=45)
    torch.testing.assert_close(ours[:, [0, 1, 3]], theirs[:, [0, 1, 3]], atol=1e-5, rtol=1e-5)
    student, _ = read(path)
    assert student.activation == activation
    assert student.number == ("probability" if activation == "sigmoid" else "logit")


def test_two_labels_are_refused_or_subtracted_on_request(tokenizer, tmp_path):
    path = classifier(tmp_path, tokenizer, 2, {"activation_fn": IDENTITY})
    with pytest.raises(ConfigError, match=r"backbone\.classifier\.weight, which would be random.*LABEL_1"):
        read(path)
    model = library.CrossEncoder(str(path), device="cpu")
    pairs = [(query, DOCUMENTS[1]) for query in QUERIES]
    logits = torch.tensor(model.predict(pairs))
    student, collator = read(path, labels="difference", query_length=12, document_length=45)
    torch.testing.assert_close(scores_of(student, collator)[:, 1], logits[:, 1] - logits[:, 0], atol=1e-5, rtol=1e-5)
    assert student.number == "logit_difference"
    # Saved, it has one label; it is read as it is, whatever its option says.
    backbone.save(student, collator.tokenizer, tmp_path / "again")
    options = {"pooling": "head", "labels": "difference", "segments": False}
    node = {"_target_": "student/cross_encoder", **options}
    write(tmp_path / "again" / "limbeck.json", {"student": node})
    again = scores_of(*read(tmp_path / "again", query_length=12, document_length=45))
    torch.testing.assert_close(again, scores_of(student, collator))


def test_three_labels_are_refused_by_name(tokenizer, tmp_path):
    names = {"id2label": {"0": "yes", "1": "no", "2": "perhaps"}, "label2id": {"yes": 0, "no": 1, "perhaps": 2}}
    path = classifier(tmp_path, tokenizer, 3, config=names)
    with pytest.raises(ConfigError, match="has 3 labels, yes, no, perhaps, and a score is one number"):
        read(path)
    with pytest.raises(ConfigError, match="difference needs a classifier with two labels, not 3: yes, no, perhaps"):
        read(path, labels="difference")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"told": {"new_key": 1}}, r"config_sentence_transformers\.json: the key new_key is not supported"),
        ({"sbert": {"lower": True}}, r"sentence_bert_config\.json: the key lower is not supported"),
        ({"sbert": {"model_args": {"attn": 1}}}, r"sentence_bert_config\.json: model_args is \{'attn': 1\}"),
        ({"sbert": {"transformer_task": "fill-mask"}}, "_task is fill-mask; feature-extraction is supported"),
        ({"sbert": {"modality_config": {"message": {}}}}, r"modality_config is \{'message'"),
        ({"1_Pooling": {"pooling_mode_max_tokens": True}}, r"1_Pooling/config\.json: its pooling is max"),
        ({"1_Pooling": {"pooling_mode_weightedmean_tokens": True}}, "its pooling is weightedmean"),
        ({"1_Pooling": {"pooling_mode": ["cls", "mean"]}}, "its pooling is cls and mean"),
        ({"1_Pooling": {"include_prompt": False}}, "include_prompt is false"),
        ({"1_Pooling": {"scale": 2}}, r"1_Pooling/config\.json: the key scale is not supported"),
        ({"modules": DENSE, "2_Dense": {"use_residual": True}}, r"2_Dense/config\.json: use_residual is True"),
        ({"modules": DENSE, "2_Dense": {"activation_function": "torch.nn.modules.activation.Mish"}}, "is torch.*Mish"),
        ({"modules": DENSE, "2_Dense": {"module_input_name": "token_embeddings"}}, "it reads token_embeddings"),
        ({"modules": ("Transformer", "Pooling", "Normalize", "Dense")}, "in the order Transformer, Pooling, Normal"),
        ({"modules": ("Transformer", "Pooling", "LayerNorm")}, "the module LayerNorm in 2_LayerNorm is not supported"),
        ({"modules": ("Transformer", "WeightedLayerPooling", "Pooling")}, "the module WeightedLayerPooling"),
        ({"modules": ("BoW", "Dense")}, "the module BoW"),
        ({"modules": ("WordEmbeddings", "Pooling")}, "the module WordEmbeddings"),
        ({"modules": ("Transformer",)}, "0 modules Pooling, not one"),
        ({"modules": ("Transformer", "Dense")}, "0 modules Pooling, not one"),
        ({"modules": ("custom_st.Transformer", "Pooling")}, r"names the module custom_st\.Transformer, code"),
        ({"told": {"model_type": "Other"}}, "model_type is Other"),
        ({"told": {"similarity_fn_name": "manhattan"}}, "similarity_fn_name is manhattan"),
        ({"told": {"similarity_fn_name": "dot", "truncate_dim": 4}, "modules": ("Transformer", "Pooling", "Normalize")},
         "truncate_dim cuts normalised vectors"),
        ({"told": PYLATE}, "the module Pooling"),
        ({"told": {"model_type": "ColBERT"}, "modules": ("Transformer",)}, "must have one linear layer"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_known_is_refused_by_file_and_name(given, message, folder):
    with pytest.raises(ConfigError, match=message):
        read(folder(**given))


TRANSFORMER, NESTED = MODEL + "Transformer", "query_0_Transformer"


@pytest.fixture
def routes(make, tmp_path):
    """Write a folder with a transformer for queries and one for documents; return it and that of the queries."""

    def call(place="", file="router_config.json", kind="Router"):
        student, collator = make("dense-separate")
        queries = tmp_path / place / NESTED
        for model, folder in (
            (student.query_backbone, queries),
            (student.backbone, tmp_path / place / "document_0_Transformer"),
        ):
            model.save_pretrained(folder)
            collator.tokenizer.save(folder)
            write(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": False})
        names = {"query": [NESTED], "document": ["document_0_Transformer"]}
        types = {name: TRANSFORMER for each in names.values() for name in each}
        write(tmp_path / place / file, {"types": types, "structure": names, "parameters": {"allow_empty_key": True}})
        listed = [(place, MODEL + kind), ("1_Pooling", MODEL + "Pooling")]
        write(tmp_path / "modules.json", [
            {"idx": number, "name": str(number), "path": path, "type": each}
            for number, (path, each) in enumerate(listed)
        ])  # fmt: skip
        write(tmp_path / "1_Pooling" / "config.json", {"word_embedding_dimension": WIDTH})
        return tmp_path, queries

    return call


@pytest.mark.parametrize(
    "given", [{}, {"place": "0_Router"}, {"place": "0_Asym", "file": "config.json", "kind": "Asym"}], ids=str
)
def test_two_transformers_score_as_the_library_does(given, routes):
    theirs, ours = both(routes(**given)[0])
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert theirs.std() > 1e-3


def change(path, **keys):
    path.write_text(json.dumps(json.loads(path.read_text()) | keys))


@pytest.mark.parametrize(
    ("file", "keys", "message"),
    [
        ("config.json", {"hidden_act": "relu"}, r"differ in hidden_act \(hidden_act is 'relu' and 'gelu'\)"),
        ("config.json", {"layer_norm_eps": 0.5}, "differ in layer_norm_eps"),
        ("config.json", {"num_hidden_layers": 1}, "differ in num_hidden_layers"),
        ("sentence_bert_config.json", {"do_lower_case": True}, "the tokenizers in .* split texts differently"),
        ("tokenizer_config.json", {"truncation_side": "left"}, "the tokenizers in .* split texts differently"),
        ("tokenizer.json", {"normalizer": None}, "the tokenizers in .* split texts differently"),
        ("tokenizer.json", {"post_processor": None}, "the tokenizers in .* split texts differently"),
    ],
    ids=str,
)
@pytest.mark.parametrize("role", ["query", "document"])
def test_queries_that_are_read_in_another_way_than_documents_are_refused(role, file, keys, message, routes):
    path, queries = routes()
    change(queries.with_name(f"{role}_0_Transformer") / file, **keys)
    with pytest.raises(ConfigError, match=message if role == "query" else message.split(" \\(")[0]):
        read(path)


def test_keys_that_change_no_score_may_differ_between_two_transformers(routes):
    path, queries = routes()
    change(queries / "config.json", hidden_dropout_prob=0.3, initializer_range=0.1, _name_or_path="elsewhere")
    theirs, ours = both(path)
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("weigh", [{"cats": 0.0}, {"[UNK]": 1.0}, {"dog": 2.0, "cats": 0.5}], ids=str)
def test_tokens_of_queries_weigh_what_the_folder_says(weigh, make, tmp_path):
    student, collator = make("splade-tokens")
    pipeline(student, collator).write(tmp_path)
    path = tmp_path / "query_0_SparseStaticEmbedding" / "model.safetensors"
    weights = load_file(path)
    for word, value in weigh.items():
        weights["weight"][collator.tokenizer.number(word)] = value
    save_file(weights, path)
    theirs, ours = both(tmp_path, "SparseEncoder")
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    assert read(tmp_path)[0].query_encoder == "table"
    weights["weight"][collator.tokenizer.number("sea")] = -0.5
    save_file(weights, path)
    with pytest.raises(ConfigError, match=r"query tokens have weights below 0, or NaN, in .*Embedding: sea$"):
        read(tmp_path)


def test_tokens_of_queries_by_another_tokenizer_are_refused(make, tmp_path):
    pipeline(*make("splade-tokens")).write(tmp_path)
    change(tmp_path / "query_0_SparseStaticEmbedding" / "tokenizer.json", normalizer=None)
    with pytest.raises(ConfigError, match=r"the tokenizers in .* split texts differently"):
        read(tmp_path)


@pytest.mark.parametrize(("most", "lengths"), [(60, (28, 29)), (20, (8, 9)), (9, (3, 3))])
def test_the_one_length_of_a_pair_is_shared(most, lengths, tokenizer, tmp_path):
    path = classifier(tmp_path, tokenizer)
    change(path / "sentence_bert_config.json", max_seq_length=most)
    student, _ = read(path)
    assert (student.style.query_length, student.style.document_length) == lengths


def test_a_length_without_room_for_a_pair_is_refused(tokenizer, tmp_path):
    path = classifier(tmp_path, tokenizer)
    change(path / "sentence_bert_config.json", max_seq_length=8)
    with pytest.raises(ConfigError, match=r"at most 8 tokens \(max_seq_length\) leaves no room for two texts"):
        read(path)


def test_a_folder_that_says_little_of_a_student_is_exported(folder):
    path = folder()
    nodes = Saved(folder=str(path)).nodes({})
    assert "scale" not in nodes.student
    asked = {"run": str(path), "out": str(path / "out"), "card": None}
    export({**asked, "student": nodes.student, "backbone": nodes.backbone})
    torch.testing.assert_close(scores_of(*read(path / "out")), scores_of(*read(path)))


def test_what_was_taken_is_logged_once(folder, caplog):
    caplog.set_level(logging.INFO)
    made = folder(told={"similarity_fn_name": None, "prompts": {"sts": "a dog "}})
    read(made)
    read(made)  # as the runs of a sweep do
    assert caplog.text.count("read as student=dense with pooling='mean', similarity='cosine'") == 1
    assert "the prompts sts are not used" in caplog.text
