"""Other families than BERT: what is exported scores alike, texts of nothing and of punctuation included."""

import pytest
import torch
from tests.export.conftest import KINDS
from tests.students.test_backbones import write

from limbeck.backbones.pretrained import Pretrained
from limbeck.export.modules import pipeline
from limbeck.inference import score_lists
from limbeck.text.collate import Collator, Example

library = pytest.importorskip("sentence_transformers")

QUERIES = {"q0": "ba ke li", "q1": "", "q2": "re si to vu ba , ke"}
DOCUMENTS = {"d0": "ba ke li mo nu", "d1": "", "d2": ", ! .", "d3": "strange ba", "d4": "pa re si to vu ba ke li mo"}
OPTIONS = {
    "dense": {"similarity": "cosine", "scale": 20.0, "towers": "separate"},
    "splade": {},
    "colbert": {"dimension": 8, "attend_augmented": True, "query_marker": "ba", "document_marker": "ke"},
    "cross_encoder": {"pooling": "head"},
}


def look_up(ids):
    return [(QUERIES | DOCUMENTS)[name] for name in ids]


def theirs(model):
    queries, documents = list(QUERIES.values()), list(DOCUMENTS.values())
    if isinstance(model, library.CrossEncoder):
        pairs = [(query, document) for query in queries for document in documents]
        return torch.tensor(model.predict(pairs)).view(len(queries), len(documents))
    kept = {} if isinstance(model, library.MultiVectorEncoder) else {"convert_to_tensor": True}
    return model.similarity(model.encode_query(queries, **kept), model.encode_document(documents, **kept)).cpu()


@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize("family", ["DistilBert", "ModernBert", "Roberta", "DebertaV2"])
def test_forward_search_and_export_agree(family, kind, tmp_path):
    write(family, tmp_path / "plain")
    source = Pretrained(model=str(tmp_path / "plain"))
    tokenizer = source.tokenizer(list, None)
    torch.manual_seed(0)
    lengths = {"query_length": 10, "document_length": 14}
    student = KINDS[kind](lambda task: source.model(tokenizer, task), **lengths, **OPTIONS[kind]).eval()
    for name, parameter in student.named_parameters():
        if "classifier" in name:  # it is new, so small
            parameter.data.mul_(30)
    for parameter in getattr(getattr(student, "query_backbone", None), "parameters", list)():
        parameter.data += 0.1 * torch.randn_like(parameter)  # it started as a copy
    collator = Collator(tokenizer, student.style, look_up, look_up)
    with torch.no_grad():
        scores = student(collator([Example(query, list(DOCUMENTS)) for query in QUERIES])).scores
    searched = score_lists(student, collator, {query: list(DOCUMENTS) for query in QUERIES})
    torch.testing.assert_close(torch.tensor([searched[q].tolist() for q in QUERIES]), scores, atol=1e-5, rtol=1e-5)
    made = pipeline(student, collator)
    made.write(tmp_path / "made")
    found = theirs(getattr(library, made.library)(str(tmp_path / "made"), device="cpu")) * getattr(student, "scale", 1)
    torch.testing.assert_close(found, scores, atol=1e-4, rtol=1e-4)
    assert scores.std() > 1e-3
