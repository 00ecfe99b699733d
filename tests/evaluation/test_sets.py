"""The presets of evaluation sets: ids, counts, metrics, and the page that tells of them."""

import importlib.resources
import json
import re

import ir_datasets
import numpy as np
import pytest
import yaml

from limbeck.config import ConfigError, build, entries, home
from limbeck.evaluation.metrics import check_metrics, evaluate
from limbeck.evaluation.runs import read_run
from limbeck.evaluation.sets import EvalSet

DL = ["ndcg@10", "map-l2", "mrr-l2", "recall@1000-l2"]
BEIR = ["ndcg@10", "recall@100"]
DOMAINS = ("lifestyle", "recreation", "science", "technology", "writing")
BEIR_13 = {
    "trec_covid": "beir/trec-covid",
    "nfcorpus": "beir/nfcorpus/test",
    "nq": "beir/nq",
    "hotpotqa": "beir/hotpotqa/test",
    "fiqa": "beir/fiqa/test",
    "arguana": "beir/arguana",
    "webis_touche2020": "beir/webis-touche2020/v2",
    "dbpedia_entity": "beir/dbpedia-entity/test",
    "scidocs": "beir/scidocs",
    "fever": "beir/fever/test",
    "climate_fever": "beir/climate-fever",
    "scifact": "beir/scifact/test",
    "quora": "beir/quora/test",
}
LOCAL = {name: name for name in ("nfcorpus", "scifact", "arguana", "vaswani", "cranfield")} | {
    "msmarco_dl": "msmarco-dl"
}
EXPECTED = {
    "msmarco_dev": {"msmarco_dev": "msmarco-passage/dev/small"},
    "trec_dl_2019": {"trec_dl_2019": "msmarco-passage/trec-dl-2019/judged"},
    "trec_dl_2020": {"trec_dl_2020": "msmarco-passage/trec-dl-2020/judged"},
    "trec_dl": {f"trec_dl_{year}": f"msmarco-passage/trec-dl-{year}/judged" for year in (2019, 2020)},
    "trec_dl_hard": {"trec_dl_hard": "msmarco-passage/trec-dl-hard"},
    "beir_13": BEIR_13,
    "nano_beir": {
        "nano_" + identifier.removeprefix("nano-beir/").replace("-", "_"): identifier
        for identifier in ir_datasets.registry._registered
        if identifier.startswith("nano-beir/")
    },
    "lotte": {
        f"lotte_{domain}_{kind}": f"lotte/{domain}/test/{kind}" for domain in DOMAINS for kind in ("search", "forum")
    },
    "lotte_pooled": {f"lotte_pooled_{kind}": f"lotte/pooled/test/{kind}" for kind in ("search", "forum")},
    "folder": {"folder": "???/test"},
    "local_suite": {name: f"paths.data/{folder}/test" for name, folder in LOCAL.items()},
}
PUBLIC = [name for name in EXPECTED if name not in ("folder", "local_suite")]

_composed = {}


@pytest.fixture
def composed(limbeck):
    """Return the resolved configuration of a preset; overrides follow its name."""

    def call(name, *overrides):
        key = (name, *overrides)
        if key not in _composed:
            # So that paths.data is the same wherever the tests run.
            words = [f"eval={name}", "paths.data=paths.data", *overrides]
            status, out, err = limbeck("train", "--cfg", "job", "--resolve", *words, small=False)
            assert status == 0, err
            _composed[key] = yaml.safe_load(out)["eval"]
        return _composed[key]

    return call


def identifier(node):
    return f"{node['collection']}/{node['split']}".rstrip("/")


def metadata():
    """Counts of documents and queries by ir_datasets' own records; some only refer to another data set."""
    with (importlib.resources.files("ir_datasets") / "etc" / "metadata.json").open() as file:
        known = json.load(file)

    def count(name, what):
        found = known[name][what]
        return count(found["_ref"], what) if "_ref" in found else found["count"]

    return count


def test_presets_are_those_listed_here():
    files = {path.stem for path in (home() / "conf" / "eval").glob("*.yaml")} - {"default"}
    assert files == EXPECTED.keys()


def test_every_set_belongs_to_a_preset():
    folder = home() / "conf" / "eval"
    files = {path.relative_to(folder / "sets").with_suffix("").as_posix() for path in folder.glob("sets/**/*.yaml")}
    named = {
        option
        for preset in EXPECTED
        for item in yaml.safe_load((folder / f"{preset}.yaml").read_text())["defaults"]
        if isinstance(item, dict)
        for option in item.values()
    }
    assert files == named


@pytest.mark.parametrize("name", EXPECTED)
def test_a_preset_names_exactly_its_sets(composed, name):
    found = composed(name)
    assert {key: identifier(node) for key, node in found["sets"].items()} == EXPECTED[name]
    assert all(node["_target_"] == entries()["eval_set", "eval_set"].target for node in found["sets"].values())
    assert len(found["sets"]) == {"beir_13": 13, "nano_beir": 13, "lotte": 10}.get(name, len(EXPECTED[name]))


@pytest.mark.parametrize("name", PUBLIC)
def test_ids_are_registered_and_counts_are_those_of_ir_datasets(composed, name):
    count = metadata()  # it lacks none of the sets
    for node in composed(name)["sets"].values():
        assert node["collection"] in ir_datasets.registry._registered
        assert identifier(node) in ir_datasets.registry._registered
        assert node["documents"] == count(identifier(node), "docs") == count(node["collection"], "docs")
        assert node["queries"] == count(identifier(node), "queries")


def test_touche_is_version_2(composed):
    count = metadata()
    touche = identifier(composed("beir_13")["sets"]["webis_touche2020"])
    assert touche.endswith("/v2")
    assert count(touche, "qrels") == 2214
    assert count(touche.removesuffix("/v2"), "qrels") == 2962


@pytest.mark.parametrize("name", EXPECTED)
def test_metrics_and_depths(composed, name):
    found = composed(name)
    deep = name.startswith(("msmarco", "trec_dl"))
    assert found["depth"] == (1000 if deep else 100)
    assert found["search_depth"] == (1000 if deep or name == "local_suite" else 100)
    for metrics in (found["metrics"], *(node["metrics"] for node in found["sets"].values() if node["metrics"])):
        check_metrics(metrics)
        cuts = [int(cut) for metric in metrics for cut in re.findall(r"@(\d+)", metric)]
        assert max(cuts) <= found["search_depth"]
    # The sets of one kind are measured as the preset says.
    if name != "local_suite":
        assert all(node["metrics"] in (None, found["metrics"]) for node in found["sets"].values())


def test_relevance_levels_and_own_metrics_stand_with_their_sets(composed):
    for name in ("trec_dl_2019", "trec_dl_2020", "trec_dl", "trec_dl_hard"):
        assert all(node["metrics"] == DL for node in composed(name)["sets"].values())
    assert composed("msmarco_dev")["sets"]["msmarco_dev"]["metrics"] == ["mrr@10", "recall@1000", "ndcg@10"]
    for name in ("lotte", "lotte_pooled"):
        assert all(node["metrics"] == ["hit_rate@5"] for node in composed(name)["sets"].values())
    for name in ("beir_13", "nano_beir", "local_suite", "folder"):
        assert composed(name)["metrics"] == BEIR
    own = {key: node["metrics"] for key, node in composed("local_suite")["sets"].items() if node["metrics"]}
    assert own == {"vaswani": [*BEIR, "map"], "msmarco_dl": ["ndcg@10", "map-l2", "recall@100-l2"]}


def test_lengths_and_own_documents(composed):
    for name, prefix in (("beir_13", ""), ("nano_beir", "nano_"), ("local_suite", "")):
        sets = {key.removeprefix(prefix): node for key, node in composed(name)["sets"].items()}
        lengths = {"arguana": 300, "climate_fever": 64, "scidocs": 48, "scifact": 48, "trec_covid": 48}
        assert {key: node["query_length"] for key, node in sets.items()} == {key: lengths.get(key) for key in sets}
        assert {key for key, node in sets.items() if node["drop_self"]} == {"arguana", "quora"} & sets.keys()
    nodes = [node for name in EXPECTED for node in composed(name)["sets"].values()]
    assert all(node["document_length"] is None for node in nodes)


def test_what_users_override(composed, limbeck):
    changed = composed(
        "beir_13", "~eval.sets.fever", "eval.sets.nq.collection=/my/nq", "+eval/sets@eval.sets.dl=trec_dl_2020"
    )["sets"]
    assert changed.keys() == (BEIR_13.keys() | {"dl"}) - {"fever"}
    assert changed["nq"] == composed("beir_13")["sets"]["nq"] | {"collection": "/my/nq"}
    assert changed["dl"] == composed("trec_dl_2020")["sets"]["trec_dl_2020"]
    assert composed("folder", "eval.sets.folder.collection=/x")["sets"]["folder"]["collection"] == "/x"
    assert composed("default")["sets"] is None
    assert composed("default", "+eval/sets@eval.sets.nq=beir/nq")["sets"] == {"nq": composed("beir_13")["sets"]["nq"]}
    for override, told in (
        ("eval.sets.nq.colection=/x", "eval.sets.nq.colection is no key.*did you mean collection"),
        ("eval.sets.nq.query_length=long", "eval.sets.nq.query_length"),
    ):
        status, _, err = limbeck("train", "eval=beir_13", override, "--cfg", "job", small=False)
        assert status == 2
        assert re.search(told, err)


@pytest.mark.parametrize("name", [name for name in EXPECTED if name != "folder"])
def test_every_set_is_built_and_opens_as_data(composed, name):
    for key, node in composed(name)["sets"].items():
        made = build(node, key=f"eval.sets.{key}")
        data = build(made.data(), key="data")
        assert (data.collection, data.drop_self) == (node["collection"], node["drop_self"])
        assert data.names == {"train": None, "dev": None, "test": node["split"]}
        assert made.counted(node["documents"], node["queries"]) == []


def test_local_folders_have_the_declared_counts(composed, shared, artefacts):
    for key, node in composed("local_suite", f"paths.data={shared}")["sets"].items():
        made = build(node, key=f"eval.sets.{key}")
        opened = build(made.data(), key="data").open(artefacts)
        assert opened.drop_self == (key == "arguana")
        assert made.counted(len(opened.document_ids), len(opened.split("test").queries)) == []


def test_counts_that_differ_are_told(folder, artefacts):
    made = EvalSet(collection=str(folder), documents=3633, queries=323)
    opened = build(made.data(), key="data").open(artefacts)  # no split is named: test.tsv of a folder
    assert list(opened.splits) == ["test"]
    told = made.counted(len(opened.document_ids), len(opened.split("test").queries))
    assert [sentence.removeprefix(f"{folder} has ") for sentence in told] == [
        "3 documents here, 3,633 are declared: another version of the collection?",
        "2 queries here, 323 are declared: another version of the collection?",
    ]
    assert EvalSet(collection=str(folder), documents=3).counted(3, 99) == []
    (more,) = EvalSet(collection="beir/nq", documents=3, queries=2).counted(4, 2)
    assert more == "beir/nq has 4 documents here, 3 are declared: another version of the collection?"


def test_the_split_of_a_folder_is_as_said(folder):
    assert EvalSet(collection=str(folder), split="train").data()["test"] == "train"
    assert EvalSet(collection="beir/nq").data()["test"] == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"collection": ""}, "collection must be"),
        ({"collection": "synthetic"}, "collection: the synthetic world"),
        ({"split": "/test"}, "split is what follows"),
        ({"metrics": []}, "metrics must name"),
        ({"query_length": 0}, "query_length must be >= 1"),
        ({"documents": -1}, "documents must be >= 1"),
    ],
)
def test_values_out_of_range_name_the_key(options, told):
    node = {"_target_": "eval_set/eval_set", "collection": "beir/nq", **options}
    with pytest.raises(ConfigError, match=rf"^eval\.sets\.x[.:] ?{told}"):
        build(node, key="eval.sets.x")


def test_a_level_counts_grades_from_2_on_as_trec_eval_does(shared):
    import ir_measures

    oracle = {"map-l2": "AP(rel=2)", "mrr-l2": "RR(rel=2)", "recall@100-l2": "R(rel=2)@100", "ndcg@10": "nDCG@10"}
    qrels = {}
    for line in (shared / "msmarco-dl" / "qrels" / "test-full.tsv").read_text().splitlines()[1:]:
        query, document, grade = line.split("\t")
        qrels.setdefault(query, {})[document] = int(grade)
    run = read_run(shared / "msmarco-dl" / "runs" / "tasb.dl20.trec")
    ours = {name: np.mean(list(values.values())) for name, values in evaluate(qrels, run, [*oracle, "map"]).items()}
    flat = {query: dict(zip(ranking.ids, map(float, ranking.scores), strict=True)) for query, ranking in run.items()}
    theirs = ir_measures.calc_aggregate([ir_measures.parse_measure(name) for name in oracle.values()], qrels, flat)
    for name, measure in oracle.items():
        assert ours[name] == pytest.approx(theirs[ir_measures.parse_measure(measure)], abs=1e-9), name
    assert ours["map"] != pytest.approx(ours["map-l2"], abs=0.01)


PAGE = home() / "docs" / "reference" / "evaluation_sets.md"


def table_rows(first):
    """Rows of the page's tables whose header begins with a column, as tuples of cells without code marks."""
    rows, inside = set(), False
    for line in PAGE.read_text().splitlines():
        cells = [cell.strip().replace("`", "") for cell in line.strip("|").split("|")] if line[:1] == "|" else []
        inside = bool(cells) and (inside or tuple(cells[: len(first)]) == first)
        if inside and not set(line) <= set("|-: ") and tuple(cells[: len(first)]) != first:
            rows.add(tuple(cells))
    return rows


def test_the_page_tells_every_set_as_it_is(composed):
    expected = set()
    for preset in (*PUBLIC, "local_suite"):
        for key, node in composed(preset)["sets"].items():
            local = preset == "local_suite"
            name = node["collection"] if local else identifier(node)
            counts = (f"{node['documents']:,}", f"{node['queries']:,}")
            metrics, length = ", ".join(node["metrics"] or ["–"]), str(node["query_length"] or "–")
            expected.add((key, name, *counts, metrics, length, "dropped" if node["drop_self"] else "–"))
    assert table_rows(("set", "collection")) == expected


def test_the_page_tells_every_preset_as_it_is(composed):
    expected = set()
    for name in EXPECTED:
        found = composed(name)
        depths = (str(found["depth"]), str(found["search_depth"]))
        expected.add((name, str(len(found["sets"])), ", ".join(found["metrics"]), *depths))
    assert table_rows(("eval=", "sets")) == expected


def test_lengths_of_the_page_are_those_of_the_sets(composed):
    told = {row[0]: row[3] for row in table_rows(("set", "ColBERTv2 [1]")) if row[0] != "all others"}
    sets = composed("beir_13")["sets"]
    assert told == {key: str(node["query_length"]) for key, node in sets.items() if node["query_length"]}


def test_commands_of_the_page_compose(limbeck):
    commands = re.findall(r"^limbeck (.*)$", PAGE.read_text(), re.MULTILINE)
    assert len(commands) == 5
    for command in commands:
        verb, *words = command.split("#")[0].replace("'", "").replace("--cfg job", "").split()
        status, _, err = limbeck(verb, *words, "--cfg", "job", "--resolve", small=False)
        assert status == 0, err
