"""Every shipped experiment runs, from mining to table, on a small world under the names of the real collections.

The folder in which the commands are given has what they ask for: BEIR folders called as the collections are,
checkpoints called as on the hub. What the reproduction of CKL needs beside that is made by the commands of its page.
"""

import copy
import json
import re
import runpy
import shlex
import shutil
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from omegaconf import OmegaConf

from language_models import save
from limbeck.cli.main import main
from limbeck.config import build, home
from limbeck.training.objective import Objective

TOPICS = [["cat", "purr", "paw"], ["dog", "bark", "bone"], ["fish", "swim", "sea"], ["bird", "wing", "nest"]]
COMMON = ["the", "of", "a", "night", "long", "who", "where", "small"]
DOCUMENTS = 40
SPLITS = {"train": 12, "dev": 4, "test": 4, "train/judged": 12, "dev/small": 4}
SPLITS |= {"trec-dl-2019/judged": 4, "trec-dl-2020/judged": 4}
CHECKPOINTS = (
    "Luyu/co-condenser-marco",
    "Shitao/RetroMAE",
    "bert-base-uncased",
    "answerdotai/ModernBERT-base",
    "microsoft/MiniLM-L12-H384-uncased",
    "jhu-clsp/ettin-encoder-32m",
)
LANGUAGE_MODELS = ("Qwen/Qwen3-Reranker-0.6B", "mixedbread-ai/mxbai-rerank-large-v2")
COMPOSED = ("llm_to_modernbert_ckl", "llm_to_minilm_reranker_ckl", "llm_to_minilm_reranker_margin_mse")
"""Experiments that others of their family stand for: they are composed and not run."""
SMALL = ["debug=fast_dev_run", "trainer.accelerator=cpu", "paths.data=data", "paths.cache=cache"]
EXPERIMENTS = sorted(path.stem for path in (home() / "conf" / "experiment").glob("*.yaml"))


def other_loss(name):
    """Return the experiment that one differs from by its loss and its learning rate, if by nothing else."""
    given = yaml.safe_load((home() / "conf" / "experiment" / f"{name}.yaml").read_text())
    base, *others = given["defaults"]
    overridden = [each for each in others if each != "_self_"]
    return (
        base
        if given.keys() <= {"defaults", "name", "loss", "optim"}
        and given.get("optim", {}).keys() <= {"lr"}
        and all("override /loss" in e for e in overridden)
        else None
    )


STAND_IN = {name: base for name in EXPERIMENTS if name not in COMPOSED and isinstance(base := other_loss(name), str)}
STAND_IN |= dict.fromkeys(("small_warm_bkl", "small_warm_ckl"), "small_warm_kl")
"""Experiment → that which is run for it, since it has another loss alone. Each loss trains in tests/students."""
OTHER_RUNS = {"dl19_spladepp": "dl19_repllama", "dl19_tasb": "dl19_repllama"}
"""The same, with the runs of another system beside another loss."""
STAND_IN |= OTHER_RUNS
RUN = [name for name in EXPERIMENTS if name not in (*COMPOSED, *STAND_IN)]
PAGE = home() / "docs" / "reproduction" / "README.md"


def texts(rng, count, length):
    """Return texts, each of the topic of its number."""
    return [
        " ".join(rng.permutation([*rng.choice(TOPICS[i % len(TOPICS)], length), *rng.choice(COMMON, length)]).tolist())
        for i in range(count)
    ]


def query_ids(split):
    first = 1000 * (list(SPLITS).index(split) + 1)
    return [str(first + i) for i in range(SPLITS[split])]


def write_collection(folder):
    """Write a BEIR folder with the splits of nfcorpus, of the pool of TREC DL, and of MS MARCO."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True)
    documents = [{"_id": str(i), "title": "", "text": text} for i, text in enumerate(texts(rng, DOCUMENTS, 4))]
    queries = []
    for split, count in SPLITS.items():
        path = folder / "qrels" / f"{split}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["query-id\tcorpus-id\tscore"]
        for i, (query, text) in enumerate(zip(query_ids(split), texts(rng, count, 2), strict=True)):
            queries.append({"_id": query, "text": text})
            same = np.arange(i % len(TOPICS), DOCUMENTS, len(TOPICS))
            lines += [
                f"{query}\t{d}\t{grade}" for d, grade in zip(rng.choice(same, 2, replace=False), (3, 2), strict=True)
            ]
        path.write_text("\n".join(lines) + "\n")
    for name, rows in (("corpus", documents), ("queries", queries)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def write_runs(folder, name, spread, seed):
    """Write a system's runs over the dev queries as DL 2019, and the test queries as DL 2020."""
    rng = np.random.default_rng(seed)
    folder.mkdir(exist_ok=True)
    for split, year in (("dev", "dl19"), ("test", "dl20")):
        lines = []
        for query in query_ids(split):
            scores = np.sort(rng.normal(0, spread, 30))[::-1]
            found = enumerate(zip(rng.permutation(DOCUMENTS)[:30], scores, strict=True), 1)
            lines += [f"{query} Q0 {document} {rank} {score} {name}" for rank, (document, score) in found]
        (folder / f"{name}.{year}.trec").write_text("\n".join(lines) + "\n")


def write_teacher_scores(file, *splits):
    """Write raw logits of all pairs of some splits' queries, as sentence-transformers publishes them."""
    pairs = [(query, str(d)) for split in splits for query in query_ids(split) for d in range(DOCUMENTS)]
    queries, documents = zip(*pairs, strict=True)
    file.parent.mkdir(parents=True)
    scores = np.random.default_rng(3).normal(0, 5, len(pairs))
    pq.write_table(pa.table({"query_id": list(queries), "corpus_id": list(documents), "score": scores}), file)


def write_permutations(folder):
    """Write two permutations of a list of each training query, as RankLLM writes them."""
    rng = np.random.default_rng(5)
    for name in ("first", "shuffled"):
        lists = [
            {
                "query": {"text": "cat", "qid": query},
                "candidates": [{"docid": str(d), "score": 9.0, "doc": {}} for d in rng.permutation(DOCUMENTS)],
            }
            for query in query_ids("train")
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lists))


def write_checkpoint(folder):
    """Write a BERT of three layers with a head of masked words, random but for its vocabulary."""
    import torch
    from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

    from limbeck.text.tokenizer import train_wordpiece

    train_wordpiece([" ".join([*(word for topic in TOPICS for word in topic), *COMMON])] * 3, 200, folder)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 32}
    model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **sizes))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """The folder in which commands are given."""
    folder = tmp_path_factory.mktemp("world")
    write_collection(folder / "msmarco-passage")
    for name in ("nfcorpus", "scifact", "msmarco-dl"):
        write_collection(folder / "data" / name)
    write_runs(folder / "data" / "msmarco-dl" / "runs", "repllama", 0.015, 2)
    write_teacher_scores(folder / "ckl2024" / "public" / "pair" / "train.parquet", "train/judged")
    write_permutations(folder)
    write_checkpoint(folder / "tiny")
    for name in CHECKPOINTS:
        shutil.copytree(folder / "tiny", folder / name)
    save(folder / "judge", "qwen3", max_position_embeddings=2048)
    for name in LANGUAGE_MODELS:
        shutil.copytree(folder / "judge", folder / name)
    return folder


@pytest.fixture(scope="module")
def give(world):
    """Give a command in the world; it must end well."""

    def call(*words):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(world)
            patch.setattr(sys, "argv", ["limbeck", *words])
            try:
                main()
                status = None
            except SystemExit as stop:
                status = stop.code
            assert not status, words

    return call


def commands(page):
    """Return the commands of a page, in order, as words."""
    text = page.read_text().replace("\\\n", " ")
    lines = [line.strip() for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    return [shlex.split(line)[1:] for line in lines if line.startswith("limbeck ")]


@pytest.fixture(scope="module")
def prepared(give, world):
    """What the reproduction of CKL starts from, made by the commands of its page, with fewer steps."""
    for verb, *words in commands(PAGE):
        whole = [word.replace("/ID", f"/{found(world, word)}") if word.endswith("/ID") else word for word in words]
        # Pictures take longer than all else here; what an inspection finds is shown elsewhere.
        more = {"train": SMALL, "inspect": [*SMALL, "--cfg", "job"], "export": [], "import": []}.get(
            verb, ["paths.cache=cache", "accelerator=cpu"]
        )
        give(verb, *whole, *more)
    return world


WARM = [
    f"{key}=tiny" for key in ("backbone.model", *(f"candidates.parts.{x}.backbone.model" for x in ("splade", "minilm")))
]


@pytest.fixture(scope="module")
def warm(give, world):
    """What the refinement study starts from, made by examples/refinement.py with smaller models and fewer steps."""
    study = runpy.run_path(str(home() / "examples" / "refinement.py"))

    def run(verb, *words):
        more = {
            "train": [*SMALL, *WARM],
            "score": ["accelerator=cpu", "paths.cache=cache", "teacher.backbone.model=tiny", WARM[-1]],
        }.get(verb, [])
        give(verb, *words, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        study["make"](Path("data/nfcorpus"), Path("tiny"), ["splade", "colbert", "dense"], run)


@pytest.mark.parametrize("kind", ["half", "wrong"])
def test_labels_are_broken_by_the_amount_that_is_named(kind, give, world):
    broken = runpy.run_path(str(home() / "examples" / "broken_labels.py"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(world)
        broken["make"](Path("data/nfcorpus"), kind, Path(f"broken/{kind}"), give)
        before, after = (broken["read"](Path(each, "qrels/train.tsv")) for each in ("data/nfcorpus", f"broken/{kind}"))
        assert Path(f"broken/{kind}/qrels/test.tsv").read_text() == Path("data/nfcorpus/qrels/test.tsv").read_text()
    assert list(after) == list(before)
    if kind == "half":
        assert {(len(before[query]), len(own)) for query, own in after.items()} == {(2, 1)}
        assert all(own.items() <= before[query].items() for query, own in after.items())
    else:
        assert {len(own) for own in after.values()} == {2}
        wrong = sum(document not in before[query] for query, own in after.items() for document in own)
        assert 0.2 < wrong / 24 < 0.6, wrong


def found(world, word):
    """Return the one run of a path that ends in ID."""
    (run,) = (path for path in (world / word.partition("=")[2]).parent.iterdir() if path.is_dir())
    return run.name


@pytest.fixture
def run(compose, world, monkeypatch):
    """Make the run of an experiment; returns what it has found."""
    from limbeck.experiment.train import plan, train

    def call(name, *more):
        monkeypatch.chdir(world)
        monkeypatch.setattr(sys, "argv", ["limbeck", "train", f"experiment={name}", *SMALL, *more])
        config = compose("train", *sys.argv[2:])
        teacher = config.teacher or {}
        for model in (config.backbone, teacher.get("backbone"), teacher.get("of", {}).get("backbone")):
            if model is not None and model.model.startswith("package:"):  # MiniLM is larger than this test can wait for
                model.model = "tiny"
        result = train(*plan(config, sys.argv[2:]), sys.argv[2:])
        assert result is not None
        return result

    return call


ALONE = [name for name in RUN if not name.startswith(("ckl2024", "refine", "regret"))]


@pytest.mark.parametrize("name", ALONE)
def test_an_experiment_on_small_collections_runs(name, run, give):
    if name == "small_weak_teacher":  # its teacher is a re-ranker that was trained before
        made = Path("runs", "small_cross_encoder", run("small_cross_encoder")["run_id"])
        shutil.copytree(made / "model", "models/small_teacher")
    if name == "order_only":
        words = [line.removeprefix("# Before: limbeck ") for line in header(name) if line.startswith("# Before:")]
        give(*shlex.split(words[0]))
    check(name, run(name))


@pytest.mark.parametrize("name", COMPOSED)
def test_an_experiment_that_another_stands_for_composes(name, compose):
    config = compose("train", f"experiment={name}")
    text = "\n".join(header(name))
    assert config.name == name
    assert "???" not in str(config)
    assert config.teacher.model in LANGUAGE_MODELS
    assert (next(iter(config.loss)) == "ckl") == name.endswith("_ckl")
    if name.endswith("_ckl"):  # from the student that its header exports
        assert f"out={config.student.folder}\n" in text


@pytest.fixture(scope="module")
def composed(compose):
    return cache(lambda name: OmegaConf.to_container(compose("train", f"experiment={name}")))


@pytest.mark.parametrize("name", sorted(STAND_IN))
def test_an_experiment_of_another_loss_differs_in_that_alone(name, composed):
    """And its losses are built as they are there."""
    config, base = (copy.deepcopy(composed(each)) for each in (name, STAND_IN[name]))
    assert config["name"] == name
    if name in OTHER_RUNS:
        runs, others = (each["candidates"]["parts"]["run"] for each in (config, base))
        system = name.removeprefix("dl19_")
        for split in ("train", "test"):
            assert runs[split] == others[split].replace("repllama", system)
        assert runs["name"] != others["name"]
        runs |= {key: others[key] for key in ("name", "train", "test")}
    assert config["loss"] != base["loss"] or name.endswith("_kl")
    assert (
        Objective({term: build(node, key=term) for term, node in config["loss"].items()}).terms.keys()
        == config["loss"].keys()
    )
    for each in ("name", "loss"):
        del config[each], base[each]
    del config["optim"]["lr"], base["optim"]["lr"]
    assert config == base


@pytest.mark.parametrize("name", [name for name in RUN if name.startswith("ckl2024")])
@pytest.mark.usefixtures("prepared")
def test_an_experiment_of_the_reproduction_runs(name, run):
    result = run(name)  # warm starts are found finished
    check(name, result)
    if not name.endswith("warm_up"):
        assert set(result["sets"]) == {"trec_dl_2019", "trec_dl_2020"}
        for each in result["sets"].values():
            assert [row["system"] for row in each["rows"]] == ["SPLADE, warm", "student, distilled"]


@pytest.mark.parametrize("name", [name for name in RUN if name.startswith(("refine", "regret"))])
@pytest.mark.usefixtures("warm")
def test_an_experiment_of_the_refinement_study_runs(name, run):
    check(name, run(name, *WARM if name.endswith("warm_up") else ()))  # warm starts are found finished


def test_lists_are_the_top_20_of_splade_in_fused_order(prepared):
    from limbeck.evaluation.runs import read_run

    splade, colbert, fused = (
        read_run(prepared / "ckl2024" / name) for name in ("splade.trec", "colbert.trec", "mined/train.trec")
    )
    assert set(fused) == set(query_ids("train/judged"))
    for query, ranking in fused.items():
        assert len(ranking.ids) == 20
        assert set(ranking.ids) == set(splade[query].ids) == set(colbert[query].ids)
        first = max(ranking.ids, key=lambda d: sum(1 / (61 + run[query].ids.index(d)) for run in (splade, colbert)))
        score = {d: sum(1 / (61 + run[query].ids.index(d)) for run in (splade, colbert)) for d in ranking.ids}
        assert score[ranking.ids[0]] == pytest.approx(score[first])


def header(name):
    return (home() / "conf" / "experiment" / f"{name}.yaml").read_text().splitlines()


def check(name, result):
    assert result["name"] == name
    assert result["training"]["steps"] == 2
    assert result["rows"][-1]["key"] == "student"
