"""Folders laid out as published checkpoints are, file by file and key by key, score as their home library does.

The weights are small and random; the files, their names and what they say are those of the model on the hub. Home is
sentence-transformers. It reads ColBERT's and PyLate's folders, too.
"""

import json
import string

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.export.conftest import DOCUMENTS, QUERIES, collator_of, scores_of
from tests.students.test_backbones import FAMILIES
from tokenizers import processors
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertModel,
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    DistilBertConfig,
    DistilBertForMaskedLM,
    ModernBertConfig,
    ModernBertModel,
    XLMRobertaConfig,
    XLMRobertaForSequenceClassification,
    XLMRobertaModel,
)

from limbeck.config import ConfigError
from limbeck.experiment import assemble
from limbeck.experiment.loading import load
from limbeck.export.modules import pipeline
from limbeck.students.saved import Saved
from limbeck.text.collate import Example
from limbeck.training.optim import AdamW

library = pytest.importorskip("sentence_transformers")

ST = "sentence_transformers."
IDENTITY = "torch.nn.modules.linear.Identity"
ASKED = [*QUERIES, "\N{SNOWMAN} cats cats"]
"""With a word that no vocabulary knows, and one twice."""


def write(folder, files):
    """Write files of JSON by their names."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def listed(**modules):
    """Return what modules.json says of modules by number and name, as ``m1_Pooling``; the first lies in the folder."""
    names = [name.removeprefix("m") for name in modules]
    return [
        {"idx": i, "name": str(i), "path": "" if i == 0 else name, "type": kind}
        for i, (name, kind) in enumerate(zip(names, modules.values(), strict=True))
    ]


def theirs(folder, kind, **options):
    """All scores of ASKED and DOCUMENTS as sentence-transformers computes them, (B, N)."""
    model = getattr(library, kind)(str(folder), device="cpu")
    if kind == "CrossEncoder":
        pairs = [(query, document) for query in ASKED for document in DOCUMENTS]
        return model.predict(pairs, **options).reshape(len(ASKED), len(DOCUMENTS))
    return model.similarity(model.encode_query(ASKED), model.encode_document(DOCUMENTS)).cpu().float().numpy()


def ours(folder, **given):
    """Return the same as limbeck computes them."""
    ranker = load(folder, device="cpu", **given)
    return np.stack([ranker.score(query, DOCUMENTS) for query in ASKED])


def agree(folder, kind, **given):
    """Compare all scores with those of the library; return them."""
    expected = theirs(folder, kind)
    np.testing.assert_allclose(ours(folder, **given), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 1e-3
    return expected


def read(folder, **options):
    """Return the student in a folder, and its collator."""
    nodes = Saved(folder=str(folder), options=options).nodes({})
    student, words = assemble.saved(nodes.student, nodes.backbone)
    return student.eval(), collator_of(student, words)


@pytest.fixture
def inference_free(tokenizer, tmp_path):
    """Write a folder as opensearch-project/opensearch-neural-sparse-encoding-doc-v3-distill.

    The documents' transformer lies in the folder itself, without options of its own; idf.json, by which the model was
    trained, lies beside the same weights in query_0_SparseStaticEmbedding.
    """
    torch.manual_seed(5)
    config = DistilBertConfig(
        vocab_size=len(tokenizer), dim=16, n_layers=2, n_heads=2, hidden_dim=32, max_position_embeddings=64,
        initializer_range=0.3,
    )  # fmt: skip
    DistilBertForMaskedLM(config).save_pretrained(tmp_path)
    queries = tmp_path / "query_0_SparseStaticEmbedding"
    words = type(tokenizer).from_pretrained(tokenizer.name_or_path, model_max_length=64)
    for folder in (tmp_path, queries):
        words.save_pretrained(folder)
    weights = 8 * torch.rand(len(tokenizer))
    weights[[number for number in tokenizer.all_special_ids if number != tokenizer.unk_token_id]] = 0
    save_file({"weight": weights}, queries / "model.safetensors")
    idf = {tokenizer.convert_ids_to_tokens(i): value for i, value in enumerate(weights.tolist()) if value}
    static, pooling = f"{ST}sparse_encoder.models.SparseStaticEmbedding", f"{ST}sparse_encoder.models.SpladePooling"
    return write(tmp_path, {
        "idf.json": idf,
        "modules.json": [{"idx": 0, "name": "0", "path": "", "type": f"{ST}models.Router"}],
        "router_config.json": {
            "types": {
                "query_0_SparseStaticEmbedding": static,
                "": f"{ST}sparse_encoder.models.MLMTransformer",
                "document_1_SpladePooling": pooling,
            },
            "structure": {"query": [queries.name], "document": ["", "document_1_SpladePooling"]},
            "parameters": {"default_route": "document", "allow_empty_key": True},
        },
        "query_0_SparseStaticEmbedding/config.json": {"frozen": True},
        "document_1_SpladePooling/config.json": {
            "pooling_strategy": "max", "activation_function": "log1p_relu", "word_embedding_dimension": None,
        },
        "config_sentence_transformers.json": {
            "model_type": "SparseEncoder",
            "__version__": {"sentence_transformers": "5.0.0", "transformers": "4.50.3", "pytorch": "2.6.0+cu124"},
            "prompts": {"query": "", "document": ""}, "default_prompt_name": None, "similarity_fn_name": "dot",
        },
    })  # fmt: skip


def test_inference_free_splade(inference_free, tmp_path_factory):
    expected = agree(inference_free, "SparseEncoder")
    student, collator = read(inference_free)
    assert (student.query_encoder, student.activation) == ("table", "log1p_relu")
    assert not student.query_table.requires_grad
    # A query's score is the sum of the documents' weights of its words, each times its IDF.
    idf = json.loads((inference_free / "idf.json").read_text())
    document = load(inference_free, device="cpu").encode(DOCUMENTS[:1], "document").toarray()[0]
    by_hand = sum(idf[word] * document[collator.tokenizer.number(word)] for word in ("[UNK]", "cats"))
    assert by_hand == pytest.approx(expected[-1, 0], rel=1e-5)
    # Exported, it is the same layout with the same scores.
    made = tmp_path_factory.mktemp("made")
    pipeline(student, collator).write(made)
    config = json.loads((made / "document_1_SpladePooling" / "config.json").read_text())
    assert config["activation_function"] == "log1p_relu"
    assert json.loads((made / "query_0_SparseStaticEmbedding" / "config.json").read_text()) == {"frozen": True}
    np.testing.assert_allclose(agree(made, "SparseEncoder"), expected, atol=1e-5, rtol=1e-5)


def test_the_table_of_an_inference_free_splade_is_trained_and_kept(inference_free, tmp_path_factory):
    student, collator = read(inference_free, learn_query_table=True)
    before = student.query_table.detach().clone()
    optimizer = AdamW(suited=1e-3, warmup=0).configure(student, 10)["optimizer"]
    batch = collator([Example("0", ["0", "1"]), Example("1", ["0", "1"])])
    student(batch).scores[:, 0].sum().backward()
    optimizer.step()
    moved = (student.query_table.detach() - before).abs()
    assert moved.max().item() == pytest.approx(50 * 1e-3, rel=1e-3)  # 50 times the rate of the rest
    words = batch.queries.input_ids[batch.queries.kept].tolist()
    assert {*moved.nonzero().flatten().tolist()} <= {*words}
    run = tmp_path_factory.mktemp("run") / "model"
    node = {"_target_": "student/splade", "query_encoder": "table", "learn_query_table": True, "document_length": 64}
    assemble.save(student, collator.tokenizer, run, node | {"activation": "log1p_relu"}, "r")
    again, its = read(run)
    torch.testing.assert_close(scores_of(again, its), scores_of(student, collator))
    pipeline(again, its).write(run / "out")
    assert json.loads((run / "out" / "query_0_SparseStaticEmbedding" / "config.json").read_text()) == {"frozen": False}
    assert read(run / "out")[0].query_table.requires_grad


def built(folder, **options):
    """Return a student over a plain checkpoint, whose table starts as its options say."""
    backbone = {"_target_": "backbone/pretrained", "model": str(folder)}
    node = {"_target_": "student/splade", "query_encoder": "table", "document_length": 64, **options}
    student, words = assemble.saved(node, backbone)
    return student, collator_of(student, words)


def test_a_table_starts_from_a_file_of_weights_or_with_one_a_word(inference_free):
    idf = inference_free / "idf.json"
    whole, collator = read(inference_free)
    (inference_free / "modules.json").unlink()  # a plain checkpoint is left
    started, _ = built(inference_free, query_table=str(idf))
    torch.testing.assert_close(started.query_table, whole.query_table)
    plain, _ = built(inference_free)
    assert plain.query_table[collator.tokenizer.special].tolist() == [0.0] * len(collator.tokenizer.special)
    assert plain.query_table.sum() == plain.width - len(collator.tokenizer.special)
    for content, message in (
        ("[", r"idf\.json cannot be read"),
        ("[1]", r"must hold a mapping"),
        ('{"cats": -1}', r"has -1 for 'cats'; a weight is a number >= 0"),
        ('{"cats": true}', r"has True for 'cats'"),
        ('{"nowhere": 1}', r"has no token of this tokenizer"),
    ):
        idf.write_text(content)
        with pytest.raises(ConfigError, match=rf"^student\.query_table: .*{message}"):
            built(inference_free, query_table=str(idf))


BERT = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
METADATA = {
    "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]", "doc_token": "[D]",
    "ncells": None, "centroid_score_threshold": None, "ndocs": None, "index_path": None, "nbits": 1,
    "kmeans_niters": 20, "resume": False, "similarity": "cosine", "bsize": 32, "accumsteps": 1, "lr": 1e-5,
    "maxsteps": 400000, "save_every": None, "warmup": 20000, "warmup_bert": None, "relu": False, "nway": 64,
    "use_ib_negatives": True, "reranker": False, "distillation_alpha": 1.0, "ignore_scores": False,
    "query_maxlen": 32, "attend_to_mask_tokens": False, "interaction": "colbert", "dim": 128, "doc_maxlen": 20,
    "mask_punctuation": True, "checkpoint": "bert-base-uncased", "triples": "triples.json", "name": "kldR2",
}  # fmt: skip
"""As artifact.metadata of colbert-ir/colbertv2.0; documents are cut earlier, so that one here is."""


def stanford(folder, tokenizer, metadata, file="model.safetensors"):
    """Write a folder as colbert-ir/colbertv2.0 and answerdotai/answerai-colbert-small-v1."""
    torch.manual_seed(8)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, initializer_range=0.3, **BERT)
    weights = {f"bert.{name}": value for name, value in BertModel(config).state_dict().items()}
    weights["linear.weight"] = torch.randn(metadata.get("dim", 128), 16)
    tokenizer.save_pretrained(folder)
    if file.endswith("bin"):
        torch.save(weights, folder / file)
    else:
        save_file(weights, folder / file, {"format": "pt"})
    return write(folder, {
        "config.json": {**config.to_dict(), "architectures": ["HF_ColBERT"]}, "artifact.metadata": metadata
    })  # fmt: skip


@pytest.mark.parametrize(
    ("change", "file"),
    [
        ({}, "pytorch_model.bin"),
        ({"dim": 96}, "model.safetensors"),  # answerai-colbert-small-v1
        ({"attend_to_mask_tokens": True, "mask_punctuation": False}, "model.safetensors"),
    ],
    ids=["colbertv2.0", "answerai-colbert-small-v1", "attended"],
)
def test_folders_of_colberts_own_code(change, file, tokenizer, tmp_path, caplog):
    caplog.set_level("INFO")
    path = stanford(tmp_path, tokenizer, METADATA | change, file)
    agree(path, "MultiVectorEncoder")
    assert "not used" not in caplog.text
    ranker = load(path, device="cpu")
    queries = ranker.encode(ASKED, "query")
    assert {each.shape for each in queries} == {(32, change.get("dim", 128))}  # filled up with masks
    student, collator = read(path)
    assert collator.markers == {"query": "[unused0]", "document": "[unused1]"}
    pipeline(student, collator).write(tmp_path / "out")
    np.testing.assert_allclose(theirs(tmp_path / "out", "MultiVectorEncoder"), ours(path), atol=1e-5, rtol=1e-5)


def test_a_folder_of_colberts_own_code_that_lacks_something(tokenizer, tmp_path):
    path = stanford(tmp_path, tokenizer, METADATA)
    for change, message in (
        ({"similarity": "l2"}, r"artifact\.metadata: similarity is l2; cosine is supported"),
        ({"interaction": "flipr"}, r"artifact\.metadata: interaction is flipr; colbert is supported"),
        ({"dim": 64}, r"has projection\.weight of shape \(128, 16\), but the student needs \(64, 16\)"),
    ):
        write(path, {"artifact.metadata": METADATA | change})
        with pytest.raises(ConfigError, match=message):
            load(path)
    (path / "artifact.metadata").unlink()
    assert read(path, document_length=20)[0].style.query_length == 32
    weights = {name: value for name, value in load_file(path / "model.safetensors").items() if name != "linear.weight"}
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigError, match=r"is a ColBERT without linear\.weight, its layer over the tokens"):
        load(path)


def varied(model):
    """Return a model whose weights are large enough to tell texts apart."""
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower():
            parameter.data.mul_(8)
    return model


def test_splade_v3(tokenizer, tmp_path):
    """As naver/splade-v3: the transformer in the folder, an empty prompt of nothing but the library's defaults."""
    torch.manual_seed(2)
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **BERT)
    varied(BertForMaskedLM(config)).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    write(tmp_path, {
        "modules.json": listed(
            m0_MLMTransformer=f"{ST}sparse_encoder.models.MLMTransformer",
            m1_SpladePooling=f"{ST}sparse_encoder.models.SpladePooling",
        ),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "1_SpladePooling/config.json": {
            "pooling_strategy": "max", "activation_function": "relu", "word_embedding_dimension": None,
        },
        "config_sentence_transformers.json": {
            "model_type": "SparseEncoder", "__version__": {"sentence_transformers": "5.0.0"},
            "prompts": {"query": "", "document": ""}, "default_prompt_name": None, "similarity_fn_name": "dot",
        },
    })  # fmt: skip
    agree(tmp_path, "SparseEncoder")
    assert read(tmp_path)[0].query_encoder == "shared"


def test_gte_modern_colbert(tokenizer, tmp_path):
    """As lightonai/GTE-ModernColBERT-v1: markers with a blank are tokens of their own, [MASK] fills queries."""
    words = type(tokenizer).from_pretrained(tokenizer.name_or_path, model_input_names=["input_ids", "attention_mask"])
    words.add_tokens(["[Q] ", "[D] "])
    torch.manual_seed(3)
    config = ModernBertConfig(vocab_size=len(words), pad_token_id=words.pad_token_id, **FAMILIES["ModernBert"])
    varied(ModernBertModel(config)).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    (tmp_path / "1_Dense").mkdir()
    save_file({"linear.weight": torch.randn(128, config.hidden_size)}, tmp_path / "1_Dense" / "model.safetensors")
    write(tmp_path, {
        "modules.json": listed(m0=f"{ST}models.Transformer", m1_Dense="pylate.models.Dense.Dense"),
        "sentence_bert_config.json": {"max_seq_length": 19, "do_lower_case": False},
        "1_Dense/config.json": {
            "in_features": config.hidden_size, "out_features": 128, "bias": False, "activation_function": IDENTITY,
        },
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "4.0.1", "transformers": "4.48.2", "pytorch": "2.5.1+cu124"},
            "prompts": {}, "default_prompt_name": None, "similarity_fn_name": "MaxSim",
            "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 32, "document_length": 20,
            "attend_to_expansion_tokens": False, "skiplist_words": list(string.punctuation),
        },
    })  # fmt: skip
    agree(tmp_path, "MultiVectorEncoder")
    assert read(tmp_path)[1].markers == {"query": "[Q] ", "document": "[D] "}


@pytest.fixture
def xlm_roberta(tokenizer):
    """The tokenizer with frames as XLM-R has them, and none of BERT's segment numbers."""
    words = type(tokenizer).from_pretrained(
        tokenizer.name_or_path, model_input_names=["input_ids", "attention_mask"], model_max_length=250
    )
    words.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] [SEP] $B [SEP]",
        special_tokens=[(token, words.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")],
    )  # fmt: skip
    return words


def test_bge_m3(xlm_roberta, tmp_path, caplog):
    """As BAAI/bge-m3: pytorch_model.bin, first token, unit vectors; two other heads lie beside."""
    caplog.set_level("INFO")
    torch.manual_seed(4)
    config = XLMRobertaConfig(
        vocab_size=len(xlm_roberta), pad_token_id=0, max_position_embeddings=66, type_vocab_size=1, **BERT
    )
    config.save_pretrained(tmp_path)
    torch.save(varied(XLMRobertaModel(config)).state_dict(), tmp_path / "pytorch_model.bin")
    xlm_roberta.save_pretrained(tmp_path)
    for name in ("sparse_linear.pt", "colbert_linear.pt"):
        torch.save({"weight": torch.randn(1, 16), "bias": torch.randn(1)}, tmp_path / name)
    modes = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    write(tmp_path, {
        "modules.json": listed(
            m0=f"{ST}models.Transformer", m1_Pooling=f"{ST}models.Pooling", m2_Normalize=f"{ST}models.Normalize"
        ),
        "sentence_bert_config.json": {"max_seq_length": 64, "do_lower_case": False},
        "1_Pooling/config.json": {
            "word_embedding_dimension": 16, **{f"pooling_mode_{mode}": mode == "cls_token" for mode in modes}
        },
        "config_sentence_transformers.json": {
            "__version__": {"sentence_transformers": "2.2.2", "transformers": "4.33.0", "pytorch": "2.1.2+cu121"}
        },
    })  # fmt: skip
    agree(tmp_path, "SentenceTransformer")
    assert "sparse_linear.pt, colbert_linear.pt are heads for other vectors; only the dense" in caplog.text


def classifier(kind, config, words, folder, **said):
    """Write a checkpoint with a classifier of one label, as CrossEncoders lie on the hub."""
    torch.manual_seed(6)
    varied(kind(config)).save_pretrained(folder)
    words.save_pretrained(folder)
    return write(folder, {"config.json": {**json.loads((folder / "config.json").read_text()), **said}})


def test_ms_marco_minilm(tokenizer, tmp_path):
    """As cross-encoder/ms-marco-MiniLM-L6-v2: config.json says that a score is the logit."""
    config = BertConfig(vocab_size=len(tokenizer), max_position_embeddings=250, num_labels=1, **BERT)
    words = type(tokenizer).from_pretrained(tokenizer.name_or_path, model_max_length=250)
    said = {"sentence_transformers": {"activation_fn": IDENTITY, "version": "4.0.1"}}
    classifier(BertForSequenceClassification, config, words, tmp_path, **said)
    agree(tmp_path, "CrossEncoder")
    assert load(tmp_path, device="cpu").student.number == "logit"


@pytest.mark.parametrize("model", ["BAAI/bge-reranker-v2-m3", "mixedbread-ai/mxbai-rerank-base-v1"])
def test_classifiers_that_say_nothing_of_their_scores(model, xlm_roberta, tmp_path):
    """Their scores are logits; sentence-transformers takes a sigmoid unless it is asked not to."""
    shape = {"vocab_size": len(xlm_roberta), "pad_token_id": 0, "max_position_embeddings": 256, "num_labels": 1}
    if model.startswith("BAAI"):
        config = XLMRobertaConfig(type_vocab_size=1, **shape, **BERT)
        classifier(XLMRobertaForSequenceClassification, config, xlm_roberta, tmp_path)
    else:
        config = DebertaV2Config(**{**FAMILIES["DebertaV2"], **shape})
        classifier(DebertaV2ForSequenceClassification, config, xlm_roberta, tmp_path)
    expected = theirs(tmp_path, "CrossEncoder", activation_fn=torch.nn.Identity())
    np.testing.assert_allclose(ours(tmp_path, student="cross_encoder"), expected, atol=1e-5, rtol=1e-5)
    assert expected.std() > 1e-3
    squashed = ours(tmp_path, student="cross_encoder", options={"activation": "sigmoid"})
    np.testing.assert_allclose(squashed, theirs(tmp_path, "CrossEncoder"), atol=1e-5, rtol=1e-5)
