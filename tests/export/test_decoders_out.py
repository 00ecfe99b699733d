"""Decoders in folders: exports and what Qwen3-Embedding looks like score as sentence-transformers does."""

import json
import signal

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from tests.students.test_decoders import build
from tests.training.test_resume import check

from limbeck.config import ConfigError
from limbeck.experiment import assemble
from limbeck.experiment.loading import load
from limbeck.export.modules import pipeline
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.saved import Saved
from tiny_decoders import DOCUMENTS, END, LENGTHS, QUERIES, collator_of, scores_of, write

library = pytest.importorskip("sentence_transformers")

STUDENTS = {
    "last": (
        Dense,
        {"pooling": "last", "similarity": "cosine", "scale": 20.0, "query_prefix": "Instruct: find\nQuery:"},
    ),
    "mean": (Dense, {"pooling": "mean", "towers": "separate"}),
    "colbert": (ColBERT, {"dimension": 8, "query_augment": False, "document_prefix": "Document: "}),
    "classifier": (CrossEncoder, {"pooling": "head"}),
    "pair": (CrossEncoder, {"pooling": "last"}),
}


def theirs(folder, kind):
    """All scores as sentence-transformers computes them, and one by one: no padding."""
    model = getattr(library, kind)(str(folder), device="cpu")
    queries, documents = list(QUERIES.values()), list(DOCUMENTS.values())
    if kind == "CrossEncoder":
        pairs = [(query, document) for query in queries for document in documents]
        found = [model.predict(pairs, batch_size=size) for size in (32, 1)]
        found = [torch.tensor(each).view(len(queries), len(documents)) for each in found]
    else:
        kept = {} if kind == "MultiVectorEncoder" else {"convert_to_tensor": True}
        found = [
            model.similarity(
                model.encode_query(queries, batch_size=size, **kept),
                model.encode_document(documents, batch_size=size, **kept),
            ).cpu()
            for size in (32, 1)
        ]
    torch.testing.assert_close(*found, atol=1e-5, rtol=1e-5)
    return found[0].float()


WAYS = [
    ("Qwen3", "last"),
    ("Qwen3", "classifier"),
    ("Llama", "colbert"),
    ("Llama", "classifier"),
    ("Gemma2", "last"),
    ("Gemma2", "pair"),
    ("Gemma3Text", "mean"),
    ("ModernBertDecoder", "last"),
    ("ModernBertDecoder", "classifier"),
]


@pytest.mark.parametrize(("family", "name"), WAYS)
def test_exports_score_as_the_student_does(family, name, tmp_path):
    kind, options = STUDENTS[name]
    head = {"kind": "ForSequenceClassification", "num_labels": 1} if name == "classifier" else {}
    write(family, tmp_path / "plain", **head)
    given = {"bidirectional": True, "end_token": True} if name in ("mean", "pair") else {}
    student, collator = build(kind, tmp_path / "plain", options, trains=True, **given)
    pairs = kind is CrossEncoder
    for key, parameter in student.named_parameters():
        if "lora_" in key:  # adapters that have learned something; of queries, others than of documents
            torch.nn.init.normal_(parameter, std=0.1)
    scores = scores_of(student, collator)
    made = pipeline(student, collator)
    made.write(tmp_path / "made")
    found = theirs(tmp_path / "made", made.library) * getattr(student, "scale", 1)
    # A pair that is too long is cut in another way (docs/howto/export.md).
    lengths = [len(row) for row in collator.tokenizer.plain(list(DOCUMENTS.values()))]
    same = [i for i, length in enumerate(lengths) if not pairs or length <= LENGTHS["document_length"]]
    torch.testing.assert_close(found[:, same], scores[:, same], atol=1e-5, rtol=1e-5)
    assert scores.std() > 1e-3
    nodes = Saved(folder=str(tmp_path / "made"), options=LENGTHS if pairs else {}).nodes({})
    again, words = assemble.saved(nodes.student, nodes.backbone)
    found = scores_of(again, collator_of(again, words)) * getattr(student, "scale", 1)
    torch.testing.assert_close(found, scores, atol=1e-5, rtol=1e-5)


INSTRUCTION = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery:"
LEGACY = ["cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens", "lasttoken"]


@pytest.fixture
def embedding(tmp_path):
    """Write a folder as Qwen3-Embedding's: no options of the transformer, keys of the pooling of before version 5.4."""
    folder = write("Qwen3", tmp_path / "qwen3-embedding", "Model")
    types = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    files = {
        "modules.json": [
            {"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
            for i, (path, kind) in enumerate(types.items())
        ],
        "1_Pooling/config.json": {
            "word_embedding_dimension": 16,
            **{f"pooling_mode_{mode}": mode == "lasttoken" for mode in LEGACY},
            "include_prompt": True,
        },
        "config_sentence_transformers.json": {
            "prompts": {"query": INSTRUCTION, "document": ""},
            "default_prompt_name": None,
            "similarity_fn_name": "cosine",
        },
    }
    for name, content in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    (folder / "2_Normalize").mkdir()
    return folder


def test_qwen3_embedding_scores_as_the_library_does_wherever_it_goes(embedding, tmp_path):
    wanted = theirs(embedding, "SentenceTransformer")
    ranker = load(embedding)
    documents = list(DOCUMENTS.values())
    found = np.stack([ranker.score(query, documents) for query in QUERIES.values()])
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-5, rtol=1e-5)
    assert wanted.std() > 1e-2
    ranker.save(tmp_path / "saved")
    np.testing.assert_allclose(theirs(tmp_path / "saved", "SentenceTransformer").numpy(), found, atol=1e-5, rtol=1e-5)

    nodes = Saved(folder=str(embedding)).nodes({})
    student, words = assemble.saved(nodes.student, nodes.backbone)
    assert student.style.query_prefix == INSTRUCTION
    assert student.pooling == "last"
    assert words.framed([words.plain(["a"])[0]])[0].tolist()[-2:] != [words.pad_id] * 2  # the end token comes once
    torch.testing.assert_close(scores_of(student, collator_of(student, words)), wanted, atol=1e-5, rtol=1e-5)

    options = {"pooling": "last", "similarity": "cosine", "query_prefix": INSTRUCTION, "query_length": 128}
    found = scores_of(*build(Dense, embedding, options | {"document_length": 128}))
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_it_learns_and_teaches_and_a_killed_training_goes_on(embedding, limbeck, forked, small, cache, tmp_path):
    """As student it has adapters, as teacher it has none."""
    own = "document_length: 16, query_length: 16, query_prefix: 'Q:'"
    words = [
        "student=saved", f"student.folder={embedding}", f"student.options={{scale: 20, {own}}}",
        "teacher=saved", f"teacher.student.folder={embedding}", f"teacher.student.options={{{own}}}",
        "loss=[kl]", "eval.start=false", "eval.teacher=false", "sampler.batch_size=2", "sampler.negatives=2",
        "trainer.steps=6", "trainer.checkpoint_every=2", "trainer.validate_every=3", "data.world.documents=100",
        "data.world.train=20", "data.world.dev=4", "data.world.test=4", "candidates.depth=10",
    ]  # fmt: skip
    status, _, err = limbeck("train", *words, "paths.runs=whole")
    assert status == 0, err
    assert err.count("a decoder, so adapters are trained") == err.count("LoRA of rank 8") == 1
    given = ["train", *small, f"paths.cache={cache}", *words]
    ended, out = forked.run(given, tmp_path, kill=[("updated", 5, signal.SIGKILL)])
    assert ended == -signal.SIGKILL, out
    ended, out = forked.run(given, tmp_path)
    assert ended == 0, out
    assert "going on from" in out
    check(tmp_path / "runs", tmp_path / "whole")

    (run,) = tmp_path.glob("whole/train/*")
    assert yaml.safe_load((run / "config.yaml").read_text())["student"]["pooling"] == "last"
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    assert state["optimizer_states"][0]["param_groups"][0]["initial_lr"] == 1e-4


def test_qwen3_reranker_as_a_classifier_teaches_in_its_template(compose, tmp_path):
    folder = write("Qwen3", tmp_path / "it", "ForSequenceClassification", num_labels=1, pad_token_id=END)
    node = OmegaConf.to_container(compose("score", "teacher=qwen3_reranker_classifier", "out=x").teacher.student)
    lengths = {"query_length": 700, "document_length": 200}
    assert node["query_length"] == 160
    options = {name: value for name, value in node.items() if name != "_target_"} | lengths
    student, collator = build(CrossEncoder, folder, options)
    start, end = "<|im_start|>", "<|im_end|>"
    queries = [
        f"{start}system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
        f'provided. Note that the answer can only be "yes" or "no".{end}\n{start}user\n<Instruct>: Given a web search '
        f"query, retrieve relevant passages that answer the query\n<Query>: {query}\n"
        for query in QUERIES.values()
    ]
    documents = [
        f"<Document>: {document}{end}\n{start}assistant\n<think>\n\n</think>\n\n" for document in DOCUMENTS.values()
    ]
    model = library.CrossEncoder(str(folder), device="cpu", activation_fn=torch.nn.Identity(), max_length=1000)
    pairs = [(query, document) for query in queries for document in documents]
    wanted = torch.tensor(model.predict(pairs)).view(len(queries), len(documents))
    torch.testing.assert_close(scores_of(student, collator), wanted, atol=1e-5, rtol=1e-5)
    assert wanted.std() > 1e-2


def test_a_template_has_no_counterpart(tmp_path):
    student, collator = build(CrossEncoder, write("Llama", tmp_path), {"pooling": "last", "document_suffix": "<|end|>"})
    with pytest.raises(ConfigError, match="adds prefixes or suffixes to its texts, which sentence-transf"):
        pipeline(student, collator)
