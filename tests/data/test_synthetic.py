"""The synthetic world: same files from same parameters, grades that follow the latent concepts, limited BM25."""

import json
from pathlib import Path

import bm25s
import numpy as np
import pytest

from limbeck.data.synthetic import World

SMALL = {"documents": 400, "topics": 8, "train": 60, "dev": 20, "test": 30, "seed": 5}
FILES = ["corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/dev.tsv", "qrels/test.tsv", "latent.npz"]


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def qrels(folder: Path, split: str) -> dict[str, dict[str, int]]:
    rows = [line.split("\t") for line in (folder / "qrels" / f"{split}.tsv").read_text().splitlines()]
    assert rows[0] == ["query-id", "corpus-id", "score"]
    found: dict[str, dict[str, int]] = {}
    for query, document, grade in rows[1:]:
        found.setdefault(query, {})[document] = int(grade)
    return found


def ndcg(ranking: list[str], grades: dict[str, int], depth: int = 10) -> float:
    gain = sum(grades.get(d, 0) / np.log2(i + 2) for i, d in enumerate(ranking[:depth]))
    ideal = sorted(grades.values(), reverse=True)[:depth]
    return gain / sum(g / np.log2(i + 2) for i, g in enumerate(ideal))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    World(**SMALL).generate(path)
    return path


def test_same_parameters_give_identical_bytes(folder: Path, tmp_path: Path) -> None:
    World(**SMALL).generate(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes(), name


def test_another_seed_gives_another_world(folder: Path, tmp_path: Path) -> None:
    World(**{**SMALL, "seed": 6}).generate(tmp_path)
    for name in FILES:
        assert (tmp_path / name).read_bytes() != (folder / name).read_bytes(), name


def test_counts(folder: Path) -> None:
    documents, queries = lines(folder / "corpus.jsonl"), lines(folder / "queries.jsonl")
    assert len({d["_id"] for d in documents}) == len(documents) == 400
    assert len({q["_id"] for q in queries}) == len(queries) == 110
    assert all(set(d) == {"_id", "title", "text"} and d["title"] and d["text"] for d in documents)
    assert all(set(q) == {"_id", "text"} and q["text"] for q in queries)
    judged = [set(qrels(folder, split)) for split in ("train", "dev", "test")]
    assert [len(s) for s in judged] == [60, 20, 30]
    assert set.union(*judged) == {q["_id"] for q in queries}


def test_lengths_are_within_a_quarter(folder: Path) -> None:
    mean = World(**SMALL).length
    lengths = [len(d["text"].split()) for d in lines(folder / "corpus.jsonl")]
    assert min(lengths) >= mean - mean // 4
    assert max(lengths) <= mean + mean // 4
    assert abs(np.mean(lengths) - mean) < 1


def test_grades_follow_the_latent_overlap(folder: Path) -> None:
    latent = np.load(folder / "latent.npz", allow_pickle=False)
    expected: dict[str, dict[str, int]] = {}
    for query, asked in zip(latent["query_ids"].tolist(), latent["query_concepts"], strict=True):
        for document, concepts, weights in zip(
            latent["document_ids"].tolist(), latent["document_concepts"], latent["document_weights"], strict=True
        ):
            salience = dict(zip(concepts.tolist(), weights.tolist(), strict=True))
            overlap = sum(salience.get(c, 0.0) for c in asked.tolist()) / len(asked)
            if overlap >= 0.75 - 1e-9:
                expected.setdefault(query, {})[document] = 2 if overlap > 1 - 1e-9 else 1
    assert {**qrels(folder, "train"), **qrels(folder, "dev"), **qrels(folder, "test")} == expected


def test_every_query_has_a_document_of_the_top_grade(folder: Path) -> None:
    for split in ("train", "dev", "test"):
        assert all(max(grades.values()) == 2 for grades in qrels(folder, split).values())


def test_a_document_says_all_its_concepts_mostly_in_one_dialect(tmp_path: Path) -> None:
    world = World(**{**SMALL, "purity": 1.0, "content": 1.0, "stray": 0.0})
    world.generate(tmp_path)
    for document in lines(tmp_path / "corpus.jsonl"):
        # One word for each concept at purity 1, and nothing else at content 1.
        assert len(set(document["text"].split())) == world.central + world.mentioned
        assert set(document["title"].lower().split()) <= set(document["text"].split())


def test_three_concepts_per_query(tmp_path: Path) -> None:
    World(**{**SMALL, "central": 4, "query_concepts": 3}).generate(tmp_path)
    assert all(max(grades.values()) == 2 for grades in qrels(tmp_path, "test").values())


def test_word_matching_finds_only_a_part(folder: Path) -> None:
    documents = lines(folder / "corpus.jsonl")
    index = bm25s.BM25(k1=0.9, b=0.4)
    texts = [f"{d['title']} {d['text']}" for d in documents]
    index.index(bm25s.tokenize(texts, stopwords=None, show_progress=False), show_progress=False)
    texts = {q["_id"]: q["text"] for q in lines(folder / "queries.jsonl")}
    judged = qrels(folder, "test")
    queries = bm25s.tokenize([texts[q] for q in judged], stopwords=None, show_progress=False)
    found, _ = index.retrieve(queries, k=10, show_progress=False)
    values = [
        ndcg([documents[i]["_id"] for i in row], grades) for row, grades in zip(found, judged.values(), strict=True)
    ]
    assert 0.15 < np.mean(values) < 0.65


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("documents", 3),
        ("topics", 1),
        ("synonyms", 0),
        ("purity", 1.5),
        ("stray", -0.1),
        ("content", 2.0),
        ("train", 0),
        ("seed", -1),
        ("background", 10**6),
        ("synonyms", 10**6),
        ("central", 100),
        ("query_concepts", 3),
    ],
)
def test_a_value_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must .* got "):
        World(**{**SMALL, name: value})
