"""The synthetic teacher: perfect where it is told to be, wrong where it is told to be, and the same in every list."""

from pathlib import Path

import numpy as np
import pytest

from limbeck.data.synthetic import World
from limbeck.teachers.synthetic import SyntheticTeacher


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("world")
    World(documents=400, topics=8, train=400, dev=20, test=60, seed=5).generate(path)
    return path


@pytest.fixture(scope="module")
def documents(folder: Path) -> list[str]:
    return np.load(folder / "latent.npz")["document_ids"].tolist()


@pytest.fixture(scope="module")
def queries(folder: Path) -> list[str]:
    return np.load(folder / "latent.npz")["query_ids"].tolist()


@pytest.fixture(scope="module")
def judged(folder: Path) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        found.setdefault(query, {})[document] = int(grade)
    return found


def ndcg(teacher: SyntheticTeacher, documents: list[str], judged: dict[str, dict[str, int]]) -> np.ndarray:
    values = []
    for (_, grades), scores in zip(judged.items(), teacher.score(list(judged), [documents] * len(judged)), strict=True):
        top = [documents[i] for i in np.argsort(-scores, kind="stable")[:10]]
        gain = sum(grades.get(d, 0) / np.log2(i + 2) for i, d in enumerate(top))
        ideal = sorted(grades.values(), reverse=True)[:10]
        values.append(gain / sum(g / np.log2(i + 2) for i, g in enumerate(ideal)))
    return np.array(values)


def test_scores_are_raw_float32_one_per_document(folder: Path, documents: list[str], queries: list[str]) -> None:
    lists = [documents[:7], documents[3:5], []]
    scores = SyntheticTeacher(folder).score(queries[:3], lists)
    assert [s.shape for s in scores] == [(7,), (2,), (0,)]
    assert all(s.dtype == np.float32 for s in scores)


def test_a_score_does_not_depend_on_the_list(folder: Path, documents: list[str], queries: list[str]) -> None:
    teacher = SyntheticTeacher(folder)
    order = np.random.default_rng(0).permutation(len(documents))[:50]
    whole = teacher.score(queries[:20], [documents] * 20)
    part = SyntheticTeacher(folder).score(queries[19::-1], [[documents[i] for i in order]] * 20)
    for a, b in zip(whole, reversed(part), strict=True):
        np.testing.assert_array_equal(a[order], b)


def test_the_seed_changes_the_noise(folder: Path, documents: list[str], queries: list[str]) -> None:
    first = SyntheticTeacher(folder, wrong_share=0.0, seed=1).score(queries[:1], [documents])[0]
    second = SyntheticTeacher(folder, wrong_share=0.0, seed=2).score(queries[:1], [documents])[0]
    assert (first != second).mean() > 0.99


def test_noise_is_standard_normal_and_independent(folder: Path, documents: list[str], queries: list[str]) -> None:
    lists = [documents] * 100
    clean = np.stack(SyntheticTeacher(folder, noise=0.0).score(queries[:100], lists))
    noise = (np.stack(SyntheticTeacher(folder, noise=2.0).score(queries[:100], lists)) - clean) / 2.0
    assert abs(noise.mean()) < 0.02
    assert abs(noise.std() - 1.0) < 0.02
    assert abs((np.abs(noise) < 1.0).mean() - 0.6827) < 0.01
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(noise[:-1].ravel(), noise[1:].ravel())[0, 1]) < 0.02


def test_without_noise_and_error_it_ranks_perfectly(
    folder: Path, documents: list[str], judged: dict[str, dict[str, int]]
) -> None:
    teacher = SyntheticTeacher(folder, noise=0.0, wrong_share=0.0)
    assert not teacher.is_wrong(list(judged)).any()
    np.testing.assert_allclose(ndcg(teacher, documents, judged), 1.0)


def test_its_quality_falls_with_noise_and_with_the_share_of_errors(
    folder: Path, documents: list[str], judged: dict[str, dict[str, int]]
) -> None:
    def quality(noise: float, share: float) -> float:
        return float(ndcg(SyntheticTeacher(folder, noise=noise, wrong_share=share), documents, judged).mean())

    noisy = [quality(noise, 0.0) for noise in (0.0, 1.0, 3.0)]
    wrong = [quality(0.0, share) for share in (0.0, 0.3, 0.9)]
    assert noisy[0] > noisy[1] + 0.02 > noisy[2] + 0.1
    assert wrong[0] > wrong[1] + 0.1 > wrong[2] + 0.2


def test_the_share_of_errors_is_as_set_and_grows_by_inclusion(folder: Path, queries: list[str]) -> None:
    few, many = (SyntheticTeacher(folder, wrong_share=share).is_wrong(queries) for share in (0.2, 0.5))
    assert abs(few.mean() - 0.2) < 0.06
    assert abs(many.mean() - 0.5) < 0.08
    assert not (few & ~many).any()


def test_where_it_is_wrong_others_stand_before_the_relevant(
    folder: Path, documents: list[str], judged: dict[str, dict[str, int]]
) -> None:
    teacher = SyntheticTeacher(folder, noise=0.0, wrong_share=1.0)
    assert teacher.is_wrong(list(judged)).all()
    scores = np.stack(teacher.score(list(judged), [documents] * len(judged)))
    best = np.array([[grades.get(d) == 2 for d in documents] for grades in judged.values()])
    best_score = np.where(best, scores, -np.inf).max(axis=1)
    assert (np.where(best, -np.inf, scores).max(axis=1) > best_score).mean() > 0.8
    # A misread concept leaves the rest of the query in place: the error is coherent, not random.
    assert (best_score >= teacher.scale / 2).all()


def test_strength_0_is_no_error(folder: Path, documents: list[str], judged: dict[str, dict[str, int]]) -> None:
    teacher = SyntheticTeacher(folder, noise=0.0, wrong_share=1.0, wrong_strength=0.0)
    np.testing.assert_allclose(ndcg(teacher, documents, judged), 1.0)


def test_an_unknown_identifier_is_named(folder: Path, documents: list[str], queries: list[str]) -> None:
    teacher = SyntheticTeacher(folder)
    with pytest.raises(ValueError, match="query 'nobody' is not in the teacher's synthetic collection"):
        teacher.score(["nobody"], [documents])
    with pytest.raises(ValueError, match="document 'nothing' is not in the teacher's synthetic collection"):
        teacher.score(queries[:1], [["nothing"]])
    with pytest.raises(ValueError, match="query 'nobody'"):
        teacher.is_wrong(["nobody"])
    with pytest.raises(ValueError, match="1 queries, 2 lists"):
        teacher.score(queries[:1], [documents, documents])


def test_another_data_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"works only with data=synthetic.*teacher=minilm"):
        SyntheticTeacher(tmp_path)


@pytest.mark.parametrize(
    ("name", "value"), [("scale", 0.0), ("noise", -1.0), ("wrong_share", 1.1), ("wrong_strength", -0.1), ("seed", -1)]
)
def test_a_value_out_of_range_is_named(folder: Path, name: str, value: float) -> None:
    with pytest.raises(ValueError, match=rf"^{name} must be .* got {value}$"):
        SyntheticTeacher(folder, **{name: value})
