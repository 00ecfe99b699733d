"""In-batch documents: which count, and that their scores are right."""

import math
from dataclasses import replace

import pytest
import torch

from limbeck.losses.document_keys import document_keys
from limbeck.losses.in_batch import other_documents
from limbeck.losses.info_nce import InfoNCE, info_nce
from limbeck.scores.keys import NO_KEY, signed_keys
from limbeck.similarity import dot, maxsim
from limbeck.types import Batch, StudentOutput, Tokens, Vectors

INDEX = torch.tensor([[0, 1, 2], [3, 1, 0], [4, 5, 0]])
MASK = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
LABELS = torch.tensor([[1.0, 0, 0], [1, 1, 0], [0, 0, 0]])


def made(scale=1.0, dtype=torch.float64):
    draw = torch.Generator().manual_seed(5)
    queries = torch.randn(3, 4, generator=draw, dtype=dtype)
    documents = torch.randn(6, 4, generator=draw, dtype=dtype).requires_grad_()
    scores = scale * (queries @ documents.T).gather(1, INDEX)
    none = torch.zeros(6, 1, dtype=torch.long)
    output = StudentOutput(scores, queries, documents, lambda q, d: scale * dot(q, d))
    return output, Batch(Tokens(none[:3], none[:3]), Tokens(none, none), INDEX, MASK, LABELS)


def by_loops(output, scale=1.0, temperature=1.0):
    values = []
    for b in range(3):
        own = [INDEX[b, i].item() for i in range(3) if MASK[b, i]]
        score = [scale * (output.queries[b] @ output.documents[n]).item() / temperature for n in range(6)]
        total = sum(math.exp(x) for x in score)  # own candidates and all others, each document once
        positives = [INDEX[b, i].item() for i in range(3) if MASK[b, i] and LABELS[b, i] > 0]
        assert own
        values.append(sum(math.log(total) - score[n] for n in positives) / max(len(positives), 1))
    return sum(values) / 3


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_in_batch_equals_the_loops(scale, temperature):
    output, batch = made(scale)
    found = InfoNCE(in_batch=True, temperature=temperature)(output, batch)
    assert found.item() == pytest.approx(by_loops(output, scale, temperature), rel=1e-9)


def test_alone_the_batch_does_not_matter():
    output, batch = made()
    expected = info_nce(output.scores, None, LABELS, MASK).mean()
    torch.testing.assert_close(InfoNCE()(output, batch), expected)
    assert InfoNCE(in_batch=True)(output, batch) > expected


def test_own_candidates_and_padding_are_no_other_documents():
    """Query 1 lists documents 3 and 1, and pads with row 0, which is another query's: that one counts, once."""
    output, batch = made()
    value = InfoNCE(in_batch=True).per_query(output, batch)[1]
    (gradient,) = torch.autograd.grad(value, output.documents)
    assert (gradient.abs().sum(-1) > 0).all()
    alone = Batch(batch.queries, batch.documents, INDEX[:, [0, 1, 1]], MASK, LABELS)
    torch.testing.assert_close(InfoNCE(in_batch=True).per_query(output, alone)[1], value)


def test_queries_without_positives_push_nothing():
    output, batch = made()
    value = InfoNCE(in_batch=True).per_query(output, batch)[2]
    assert value == 0
    (gradient,) = torch.autograd.grad(value, output.documents)
    assert (gradient == 0).all()


def test_a_single_query_has_no_others():
    output, batch = made()
    one = Batch(batch.queries, batch.documents, torch.arange(6)[None], torch.ones(1, 6).bool(), torch.eye(6)[:1])
    scores = StudentOutput((output.queries[:1] @ output.documents.T), output.queries[:1], output.documents)
    found = InfoNCE(in_batch=True)(scores, one)
    torch.testing.assert_close(found, InfoNCE()(scores, one))
    assert torch.autograd.grad(found, output.documents)[0].isfinite().all()


def test_finite_at_extremes():
    output, batch = made(dtype=torch.float32)
    for size in (1e3, -1e3):
        far = StudentOutput(output.scores * size, output.queries * 1e2, output.documents * 1e2)
        value = InfoNCE(in_batch=True)(far, batch)
        assert value.isfinite()
        assert torch.autograd.grad(value, output.documents, retain_graph=True)[0].isfinite().all()


def test_16_bit_embeddings_are_scored_in_float32():
    output, batch = made(dtype=torch.float32)
    half = StudentOutput(output.scores, output.queries.bfloat16(), output.documents.bfloat16())
    full = StudentOutput(output.scores, half.queries.float(), half.documents.float())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = InfoNCE(in_batch=True)(half, batch)
    torch.testing.assert_close(found, InfoNCE(in_batch=True)(full, batch), rtol=1e-6, atol=1e-6)


def test_several_vectors_a_text_are_scored_as_the_student_says():
    """One vector a text is the same whether it comes as such or as several vectors of number one."""
    output, batch = made()
    several = [
        Vectors(side.unsqueeze(1), torch.ones(len(side), 1, dtype=torch.bool))
        for side in (output.queries, output.documents)
    ]
    late = StudentOutput(output.scores, *several, maxsim)
    torch.testing.assert_close(InfoNCE(in_batch=True)(late, batch), InfoNCE(in_batch=True)(output, batch))
    with pytest.raises(ValueError, match="must say how it scores"):
        InfoNCE(in_batch=True)(StudentOutput(output.scores, *several), batch)


def test_gather_in_one_process_changes_nothing():
    output, batch = made()
    torch.testing.assert_close(
        InfoNCE(in_batch=True, gather=True)(output, batch), InfoNCE(in_batch=True)(output, batch)
    )


# Documents that are known to be relevant to a query and come with another query's list.


def known(**options):
    """Three queries, the first and the last the same: document 0 is its positive in one list and 5 in the other."""
    output, batch = made()
    labels = torch.tensor([[1.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    return output, replace(batch, labels=labels, query_ids=["q", "p", "q"], **options)


def others_of(batch, output, **options):
    _, counts = other_documents(output, batch, gather=False, **options)
    return [counts[b].nonzero().flatten().tolist() for b in range(3)]


def test_the_positives_of_the_same_query_are_no_negatives():
    output, batch = known()
    assert others_of(batch, output) == [[3, 4], [0, 2, 4, 5], [1, 2, 3]]
    assert others_of(batch, output, mask_positives=False) == [[3, 4, 5], [0, 2, 4, 5], [0, 1, 2, 3]]


def test_judged_positives_are_no_negatives():
    """Documents 4, 0, 2 and 5 are relevant to one query or another; 9 and 71 are not in the batch."""
    keys = torch.tensor([70, -5, 72, 73, -9, 75])
    positives = torch.tensor([[70, 75, 72, 9], [73, -9, 71, NO_KEY], [70, 75, 72, 9]])
    output, batch = known(document_keys=keys, positives=positives)
    assert others_of(batch, output) == [[3, 4], [0, 2, 5], [1, 3]]
    assert others_of(batch, output, mask_positives=False) == [[3, 4, 5], [0, 2, 4, 5], [0, 1, 2, 3]]
    found = InfoNCE(in_batch=True).per_query(output, batch)
    for b, (positive, counted) in enumerate([(0, [0, 1, 2, 3, 4]), (3, [3, 1, 2, 5, 0]), (5, [4, 5, 1, 3])]):
        scores = output.queries[b] @ output.documents.T
        torch.testing.assert_close(found[b], scores[counted].logsumexp(0) - scores[positive])
    unmasked = InfoNCE(in_batch=True, mask_positives=False).per_query(output, batch)
    assert (unmasked > found).all()


def test_masked_positives_get_no_gradient():
    output, batch = known()
    value = InfoNCE(in_batch=True).per_query(output, batch)[0]
    (gradient,) = torch.autograd.grad(value, output.documents)
    assert (gradient.abs().sum(-1) > 0).tolist() == [True] * 5 + [False]


def test_keys_made_from_ids_are_those_of_the_rows_whatever_pads_the_lists(monkeypatch):
    monkeypatch.setattr("limbeck.losses.document_keys.processes", lambda: 2)
    _, batch = made()
    names = replace(batch, document_ids=[["a", "b", "c"], ["7", "b"], ["e", "f"]])
    assert document_keys(names, 6, gather=True).tolist() == signed_keys(["a", "b", "c", "7", "e", "f"]).tolist()
