import json
import math

import bm25s
import numpy as np
import pytest
import Stemmer

from limbeck.config import ConfigError
from limbeck.data.analysers import STOPWORDS, characters
from limbeck.data.bm25 import BM25
from limbeck.data.candidates import Search, find, inputs
from limbeck.data.fusion import Fusion
from limbeck.data.opening import Data
from limbeck.evaluation.metrics import evaluate, means


def ask(folder, text):
    (folder / "queries.jsonl").write_text(f'{{"_id": "q", "text": "{text}"}}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td1\t2\n")


def test_scores_equal_the_formula(folder, artefacts):
    ask(folder, "cats fish")
    found = Data(collection=str(folder), train=None, dev=None).open(artefacts)
    run = BM25(stemmer=None, stopwords=None, k1=0.9, b=0.4).search(Search(found, "test", artefacts))
    documents = {name: text.lower().split() for name, text in found.iterate()}
    mean = sum(map(len, documents.values())) / len(documents)
    expected = {}
    for name, words in documents.items():
        score = 0.0
        for term in ("cats", "fish"):
            containing = sum(term in other for other in documents.values())
            idf = math.log(1 + (len(documents) - containing + 0.5) / (containing + 0.5))
            frequency = words.count(term)
            score += idf * frequency / (frequency + 0.9 * (1 - 0.4 + 0.4 * len(words) / mean))
        if score:
            expected[name] = score
    assert set(run["q"].ids) == set(expected) == {"d1", "d 3"}  # d2 shares no word and is not listed
    np.testing.assert_allclose(run["q"].scores, sorted(expected.values(), reverse=True), rtol=1e-5)


def test_depth_cuts_and_ties_break_by_document_id(folder, artefacts):
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "d{i}", "text": "same words"}}\n' for i in range(5)))
    ask(folder, "words")
    found = Data(collection=str(folder), train=None, dev=None).open(artefacts)
    assert BM25(depth=3).search(Search(found, "test", artefacts))["q"].ids == ["d4", "d3", "d2"]


def test_the_query_itself_is_dropped_before_the_cut(folder, artefacts):
    """ArguAna: every query is a document of the collection."""
    (folder / "corpus.jsonl").write_text("".join(f'{{"_id": "{i}", "text": "same words"}}\n' for i in "pqrs"))
    ask(folder, "words")
    for drop_self, expected in ((False, ["s", "r", "q"]), (True, ["s", "r", "p"])):
        data = Data(collection=str(folder), train=None, dev=None, drop_self=drop_self)
        assert BM25(depth=3).search(Search(data.open(artefacts), "test", artefacts))["q"].ids == expected


@pytest.mark.parametrize(("name", "expected"), [("nfcorpus", 0.318), ("cranfield", 0.343)])
def test_known_effectiveness_on_real_collections(shared, artefacts, name, expected):
    found = Data(collection=str(shared / name), train=None, dev=None).open(artefacts)
    split = found.split("test")
    run = BM25().search(Search(found, "test", artefacts))
    value = means(evaluate(split.qrels, run, ["ndcg@10"]))["ndcg@10"]
    assert value == pytest.approx(expected, abs=0.005)


# -- text without words ------------------------------------------------------------------------------------------------


@pytest.fixture
def world(folder, artefacts):
    """Return a search in a collection of given texts."""

    def make(documents, queries):
        for name, texts in (("corpus", documents), ("queries", queries)):
            lines = [json.dumps({"_id": key, "text": text}) + "\n" for key, text in texts.items()]
            (folder / f"{name}.jsonl").write_text("".join(lines))
        rows = "".join(f"{query}\td1\t1\n" for query in queries)
        (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + rows)
        return Search(Data(collection=str(folder), train=None, dev=None).open(artefacts), "test", artefacts)

    return make


CHINESE = {
    "d1": "机器学习是人工智能的一个分支", "d2": "蛋白质的结构决定其功能", "d3": "学生在学校学习历史",
    "d4": "今天北京的天气很好",
}  # fmt: skip
JAPANESE = {
    "d1": "東京は日本の首都です", "d2": "京都には古いお寺がたくさんある", "d3": "コーヒーを飲みながら本を読む",
    "d4": "東北の冬は寒い",
}  # fmt: skip
THAI = {"d1": "แมวชอบกินปลา", "d2": "สุนัขเห่าเสียงดัง", "d3": "วันนี้อากาศร้อน"}
KHMER = {"d1": "ឆ្មាចូលចិត្តស៊ីត្រី", "d2": "ឆ្កែព្រុសខ្លាំង", "d3": "អាកាសធាតុក្តៅ"}
UNPARTED = {
    "Chinese": (CHINESE, {"机器学习": ["d1", "d3"], "学校的历史": ["d3", "d1"], "北京天气": ["d4"], "蛋": ["d2"]}),
    "Japanese": (JAPANESE, {"日本の首都": ["d1"], "京都のお寺": ["d2", "d1"], "ｺｰﾋｰ": ["d3"], "東北": ["d4", "d1"]}),
    "Thai": (THAI, {"แมว": ["d1"], "อากาศ": ["d3"], "เห่า": ["d2"]}),
    "Khmer": (KHMER, {"ឆ្មា": ["d1"], "ឆ្កែ": ["d2"], "អាកាស": ["d3"]}),
    "with blanks": ({"d1": "机 器 学 习", "d2": "蛋 白 质"}, {"学习": ["d1"], "学 习": ["d1"], "质": ["d2"]}),
    "numbers": ({"d1": "1 2 3", "d2": "4 5"}, {"3": ["d1"], "5 4": ["d2"]}),
    "emoji": ({"d1": "so \U0001f600\U0001f389", "d2": "\U0001f622"}, {"\U0001f389": ["d1"], "\U0001f622!": ["d2"]}),
    "Hindi": ({"d1": "हिन्दी भाषा", "d2": "हिमालय पर्वत"}, {"भाषा": ["d1"], "पर्वत": ["d2"]}),
    "words between": (
        {"d1": "用GPU训练 cats", "d2": "用CPU训练 dogs"},
        {"gpu": ["d1"], "cat": ["d1"], "ＣＰＵ": ["d2"]},
    ),
}


@pytest.mark.parametrize("script", UNPARTED)
def test_characters_find_what_has_no_words(script, world):
    """The first documents are the right ones, in order: the best shares the most, and the rarest, pairs."""
    documents, expected = UNPARTED[script]
    search = world(documents, {f"q{n}": text for n, text in enumerate(expected)})
    run = find(BM25(analyser="characters"), search)
    for n, (text, ids) in enumerate(expected.items()):
        assert run[f"q{n}"].ids[: len(ids)] == ids, text


def test_scores_of_characters_equal_the_formula(world):
    documents = {"d1": "学习学校 Go", "d2": "学生 is 7", "d3": "北京"}
    tokens = {"d1": "学 习 学 校 学习 习学 学校 go", "d2": "学 生 学生 7", "d3": "北 京 北京"}
    run = find(BM25(analyser="characters", k1=1.2, b=0.5), world(documents, {"q": "学习 GO"}))
    mean = sum(len(each.split()) for each in tokens.values()) / 3
    expected = dict.fromkeys(documents, 0.0)
    for term in ("学", "习", "学习", "go"):
        containing = sum(term in each.split() for each in tokens.values())
        for name, each in tokens.items():
            frequency, length = each.split().count(term), len(each.split())
            weight = frequency / (frequency + 1.2 * (1 - 0.5 + 0.5 * length / mean))
            expected[name] += math.log(1 + (3 - containing + 0.5) / (containing + 0.5)) * weight
    assert run["q"].ids == ["d1", "d2"]
    np.testing.assert_allclose(run["q"].scores, [expected["d1"], expected["d2"]], rtol=1e-5)


WITHOUT = {
    "single characters": {"d1": "蛋 白 质", "d2": "学 习"},
    "digits": {"d1": "1 2", "d2": "3"},
    "emoji": {"d1": "\U0001f600", "d2": "\U0001f389"},
    "stop words": {"d1": "to be or not to be", "d2": "the"},
    "punctuation": {"d1": "?", "d2": "..."},
    "nothing": {"d1": "", "d2": " "},
}


@pytest.mark.parametrize("kind", WITHOUT)
def test_a_collection_without_words_is_refused_with_what_to_do(kind, world):
    with pytest.raises(
        ConfigError, match=r"no document of .* has a word for BM25: candidates.analyser=words takes"
    ) as told:
        find(BM25(), world(WITHOUT[kind], {"q": "a"}))
    for remedy in ("candidates.analyser=characters", "candidates.stopwords=null", "candidates=dense"):
        assert remedy in str(told.value)
    if kind in ("single characters", "digits", "emoji"):
        return
    with pytest.raises(ConfigError, match=r"candidates\.analyser=characters takes") as told:
        find(BM25(analyser="characters"), world(WITHOUT[kind], {"q": "a"}))
    assert "try candidates.stopwords=null" in str(told.value)


def test_stop_words_alone_are_found_without_the_list(world):
    search = world(WITHOUT["stop words"], {"q": "not to be"})
    assert find(BM25(stopwords=None), search)["q"].ids == ["d1"]


def test_a_fusion_names_its_part_without_words(world):
    search = world(WITHOUT["digits"], {"q": "1"})
    parts = {"one": BM25(analyser="characters"), "two": BM25()}
    with pytest.raises(ConfigError, match="has a word for BM25"):
        find(Fusion(parts), search)
    parts["two"] = BM25(analyser="characters", k1=1.2)
    assert find(Fusion(parts), search)["q"].ids == ["d1"]


def test_a_warning_names_the_analyser_where_most_queries_find_nothing(world, caplog):
    search = world(CHINESE, {"q1": "机器学习", "q2": "北京", "q3": "今天北京的天气很好"})
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        find(BM25(), search)
        (record,) = [each for each in caplog.records if "finds nothing" in each.message]
        assert record.levelname == "WARNING"
        assert "BM25 (k1=0.9, b=0.4) finds nothing for 2 of 3 test queries" in record.message
        assert "candidates.analyser=words takes" in record.message
        assert "candidates.analyser=characters" in record.message
    caplog.clear()
    find(BM25(analyser="characters"), search)
    assert "finds nothing" not in caplog.text


def test_no_warning_where_half_of_the_queries_find_something(world, caplog):
    find(BM25(), world({"d1": "cats purr", "d2": "dogs"}, {"q1": "cats", "q2": "zebras"}))
    assert "finds nothing" not in caplog.text


def test_the_analyser_is_part_of_what_is_kept(world):
    search = world(CHINESE, {"q1": "学习"})
    assert "q1" not in find(BM25(), search)
    assert "q1" in find(BM25(analyser="characters"), search)
    assert inputs(BM25(), search) != inputs(BM25(analyser="characters"), search)
    assert len(list((search.artefacts.root / "bm25").glob("*/meta.json"))) == 2


def test_lists_of_stop_words_are_those_of_bm25s():
    for code, name in STOPWORDS.items():
        assert bm25s.tokenization._infer_stopwords(code) == bm25s.tokenization._infer_stopwords(name)
        BM25(stopwords=name)
    assert characters(["The cats, aren't"], stopwords="en", stemmer=Stemmer.Stemmer("english")) == [
        ["cat", "aren", "t"]
    ]


def test_options_out_of_range():
    for options, message in [
        ({"depth": 0}, "depth"),
        ({"k1": -1.0}, "k1"),
        ({"b": 1.5}, "b must"),
        ({"stemmer": "x"}, "stemmer"),
        ({"stopwords": "x"}, "stopwords must be null or one of en, "),
        ({"analyser": "letters"}, "analyser must be one of words, characters"),
    ]:
        with pytest.raises(ValueError, match=f"^{message}"):
            BM25(**options)
    assert "english" in Stemmer.algorithms()
