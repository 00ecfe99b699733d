"""Columns of a dataset become those that the trainers of sentence-transformers read."""

import doctest
import pickle
from math import nan

import pytest
import torch
from datasets import Dataset
from sentence_transformers.util import resolve_ids

from limbeck.integrations.sentence_transformers import ListColumns, columns
from limbeck.integrations.sentence_transformers.targets import read

LISTED = {"query": ["q", "r"], "documents": [["a", "b", "c"], ["d", "e"]], "scores": [[3, 2, 1], [5, 4]]}


def same(found, expected):
    """Whether nested lists are equal, NaN to NaN."""
    return repr(found) == repr(expected)


def test_lists_become_columns_that_are_filled_up():
    found = ListColumns()(LISTED | {"labels": [[0, 1, 0], [1, 1]]})
    label = found.pop("label")
    expected = {"query": ["q", "r"], "document_1": ["a", "d"], "document_2": ["b", "e"], "document_3": ["c", ""]}
    assert list(found.items()) == list(expected.items())
    assert same(label[0], [[3.0, 2.0, 1.0], [0.0, 1.0, 0.0], [nan, nan, nan]])
    assert same(label[1], [[5.0, 4.0, nan], [1.0, 1.0, nan], [nan, nan, nan]])


def test_lists_stay_lists_for_cross_encoders():
    transform = pickle.loads(pickle.dumps(ListColumns("lists", scores="teacher", ranks="bm25")))
    batch = {"query": LISTED["query"], "documents": LISTED["documents"], "teacher": LISTED["scores"]}
    found = transform(batch | {"bm25": [[1, 2, 3], [9, 8]]})
    label = found.pop("label")
    assert found == {"query": LISTED["query"], "documents": LISTED["documents"]}
    assert same(label[1], [[5.0, 4.0], [nan, nan], [9.0, 8.0]])


def test_columns_of_documents_keep_their_names():
    batch = {"scores": [[3, 2]], "question": ["q"], "good": ["a"], "bad": ["b"]}
    assert list(ListColumns()(batch)) == ["question", "good", "bad", "label"]


def test_what_is_packed_is_read_again():
    rows = [torch.tensor(row) for row in ListColumns("lists")(LISTED | {"ranks": [[1, 2, 3], [1, 2]]})["label"]]
    told = read(rows, "scores")
    assert told.lengths == [3, 2]
    assert told.mask.tolist() == [[True, True, True], [True, True, False]]
    assert {*told.numbers} == {"scores", "ranks"}
    assert told.numbers["scores"][told.mask].tolist() == [3, 2, 1, 5, 4]
    filled_up = read(torch.tensor(ListColumns()(LISTED)["label"]), "scores")
    assert torch.equal(filled_up.mask, told.mask)
    assert {*filled_up.numbers} == {"scores"}


def test_datasets_read_or_mapped():
    """As a batch is read or once; and after the texts were looked up by the library."""
    texts = Dataset.from_dict({"id": ["1", "2", "3"], "text": ["a", "b", "c"]})
    asked = Dataset.from_dict({"query_id": ["1"], "document_ids": [["3", "2"]], "scores": [[2, 1]], "ranks": [[1, 2]]})
    resolve = resolve_ids({"query_id": texts, "document_ids": texts}, ["scores", "ranks"], output_format="lists")
    data = asked.map(resolve, batched=True, remove_columns=["query_id", "document_ids"])
    mapped = data.map(ListColumns(), batched=True, remove_columns=data.column_names)
    data.set_transform(ListColumns())
    expected = {"query": "a", "document_1": "c", "document_2": "b", "label": [[2.0, 1.0], [nan, nan], [1.0, 2.0]]}
    assert same(data[0], expected)
    assert same(mapped[0], expected)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scores": None}, "no column scores, labels, ranks; there are query, documents"),
        ({"scores": None, "teacher": [[3, 2, 1], [5, 4]]}, r"'teacher' holds numbers, .*scores='teacher'"),
        ({"scores": [[3, 2, 1], [5]]}, "row 1 of the batch has 2 documents, its column 'scores' has 1"),
        ({"scores": [3, 2]}, "row 0 of the batch has 3 documents, its column 'scores' has no list"),
        ({"scores": [[3, 2, None], [5, 4]]}, r"row 0 of the batch: column 'scores' must hold finite.*None"),
        ({"ranks": [[1, 2, 3], [1, nan]]}, "row 1 of the batch: column 'ranks' must hold finite numbers"),
        ({"documents": None}, "a query and its documents are needed, got the columns query, scores"),
    ],
)
def test_what_is_no_list_is_refused(change, told):
    batch = {name: rows for name, rows in (LISTED | change).items() if rows is not None}
    with pytest.raises(ValueError, match=told):
        ListColumns()(batch)


def test_another_format_is_refused():
    with pytest.raises(ValueError, match="output_format must be columns or lists, got 'rows'"):
        ListColumns("rows")  # pyright: ignore[reportArgumentType]


def test_the_example_of_the_docstring():
    assert doctest.testmod(columns) == (0, 2)
