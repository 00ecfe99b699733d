"""What sentence-transformers and transformers make of an exported folder is what limbeck makes of the student."""

import pytest
import torch
from tests.export.conftest import DOCUMENTS, QUERIES, STUDENTS, TOO_LONG, scores_of
from transformers import AutoModel, AutoModelForMaskedLM, AutoModelForSequenceClassification

from limbeck.export.modules import pipeline

library = pytest.importorskip("sentence_transformers")


def loaded(folder, kind):
    return getattr(library, kind)(str(folder), device="cpu")


def theirs(model):
    """All scores as sentence-transformers computes them."""
    if isinstance(model, library.CrossEncoder):
        pairs = [(query, document) for query in QUERIES for document in DOCUMENTS]
        return torch.tensor(model.predict(pairs)).view(len(QUERIES), len(DOCUMENTS))
    kept = {} if isinstance(model, library.MultiVectorEncoder) else {"convert_to_tensor": True}
    return model.similarity(model.encode_query(QUERIES, **kept), model.encode_document(DOCUMENTS, **kept))


@pytest.mark.parametrize("name", STUDENTS)
def test_sentence_transformers_gives_the_same_scores(name, make, tmp_path):
    student, collator = make(name)
    made = pipeline(student, collator)
    made.write(tmp_path)
    scores = theirs(loaded(tmp_path, made.library)).cpu().float() * getattr(student, "scale", 1.0)
    # A pair that is too long is cut in another way (docs/howto/export.md).
    same = [i for i in range(len(DOCUMENTS)) if i != TOO_LONG] if name.startswith("cross") else range(len(DOCUMENTS))
    torch.testing.assert_close(scores[:, same], scores_of(student, collator)[:, same], atol=1e-4, rtol=1e-4)
    assert scores.std() > 1e-3


@pytest.mark.parametrize("name", STUDENTS)
def test_transformers_loads_the_transformer(name, make, tmp_path):
    student, collator = make(name)
    made = pipeline(student, collator)
    made.write(tmp_path)
    auto = AutoModelForMaskedLM if name.startswith("splade") else AutoModel
    auto = AutoModelForSequenceClassification if name.endswith("head") else auto
    model, info = auto.from_pretrained(tmp_path / made.transformer, output_loading_info=True)
    assert not {key for key in info["missing_keys"] if "pooler" not in key}
    assert not info["unexpected_keys"]
    tokens = collator.pad(collator.document_rows(["1"]), "document")
    with torch.inference_mode():
        one, other = (each.base_model(tokens.input_ids).last_hidden_state for each in (model, student.backbone))
    torch.testing.assert_close(one, other)
