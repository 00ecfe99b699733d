"""The benchmarks run: at a tiny size, without peers. What they measure is no matter here."""

import importlib
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from limbeck.text.tokenizer import train_wordpiece

ROOT = Path(__file__).parents[1]
TINY = ["--peers", "--rounds", "1", "--tries", "1", "--layers", "1", "--settings", "synthetic", "--threads", "1"]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Lists, texts and models of the benchmarks: made once."""
    return tmp_path_factory.mktemp("bench")


@pytest.fixture
def copied(forked, monkeypatch, tmp_path):
    """Measure in copies of this process, which has imported what they need."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    rounds = importlib.import_module("rounds")

    def measure(command, *, env, **_):
        script, *words = command[1:]
        status, out = forked.run(words, tmp_path, env=env, main=lambda: runpy.run_path(script, run_name="__main__"))
        return subprocess.CompletedProcess(command, status, out, out)

    monkeypatch.setattr(rounds, "subprocess", SimpleNamespace(run=measure))


@pytest.fixture
def run(bench, monkeypatch, capsys):
    """Run a benchmark; returns the rows of its tables, without heads."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))

    def call(script, *words):
        monkeypatch.setattr(sys, "argv", [script, *TINY, "--cache", str(bench), *words])
        importlib.import_module(script).main()
        rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
        return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:]]

    return call


@pytest.fixture
def tiny(monkeypatch, tmp_path):
    """Measure on a small transformer: the vocabulary of MiniLM takes longer than these tests may."""
    torch.manual_seed(0)
    train_wordpiece(["cats purr and dogs bark"] * 3, 100, tmp_path)
    words = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(tmp_path)
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(importlib.import_module("materials"), "model", lambda layers, cache: tmp_path)


@pytest.mark.usefixtures("copied", "tiny")
def test_training_is_measured(run, bench):
    students = ["dense", "cross_encoder"]  # the head of the second is new
    rows = run("train", "--steps", "1", "--warmup", "1", "--students", *students, "--losses", "ckl")
    assert [row[:4] for row in rows] == [["synthetic", "1", student, "ckl"] for student in students]
    assert all(float(row[4]) > 0 for row in rows)
    (lists,) = bench.glob("lists/*/lists.jsonl")
    made = [json.loads(line) for line in lists.read_text().splitlines()]
    assert len(made) == 16  # those of two steps
    assert all(len(each["document_ids"]) == len(each["scores"]) == 8 for each in made)


def test_a_benchmark_that_fails_keeps_its_last_section(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    results = importlib.import_module("results")
    (tmp_path / "benchmarks").mkdir()
    for name, value in {"ROOT": tmp_path, "OUT": tmp_path / "results.md", "SECTIONS": {"one": ("One", [])}}.items():
        monkeypatch.setattr(results, name, value)
    monkeypatch.setattr(sys, "argv", ["results.py"])
    script = tmp_path / "benchmarks" / "one.py"
    script.write_text("print('measured')")
    results.main()
    script.write_text("raise SystemExit(3)")
    with pytest.raises(SystemExit, match="failed: one"):
        results.main()
    assert "\n\nmeasured\n\n`python benchmarks/one.py" in results.OUT.read_text()


PROGRAM = """
import json, os, sys
job = json.loads(sys.argv[1])
if job["fails"]:
    sys.exit("no such model")
print("what else it says")
print(json.dumps({"rate": 3.0, "others": None, "process": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"]}))
"""


def test_a_program_is_measured_in_a_process_of_its_own(monkeypatch, tmp_path, capsys):
    """As all are by `make bench`; below they are copies of this one."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    rounds = importlib.import_module("rounds")
    (tmp_path / "program.py").write_text(PROGRAM)
    asked, command = SimpleNamespace(rounds=1, tries=1), [sys.executable, str(tmp_path / "program.py")]
    job = {"setting": "synthetic", "threads": 3, "fails": False}
    (one,) = rounds.measure(job, {"ours": command}, asked).rounds
    assert (one["ours"]["rate"], one["ours"]["threads"]) == (3.0, "3")
    assert one["ours"]["process"] != os.getpid()
    assert rounds.measure({**job, "fails": True}, {"peer": command}, asked).failed == ["peer"]
    assert "peer failed and is left out\nno such model" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="synthetic: no such model"):
        rounds.measure({**job, "fails": True}, {"ours": command}, asked)


@pytest.mark.usefixtures("copied")
@pytest.mark.parametrize(("script", "words"), [("encode", ["--documents", "20"]), ("score", ["--lists", "2"])])
def test_inference_is_measured(script, words, run):
    rows = run(script, *words)
    assert rows[0][:4] == ["synthetic", "20" if script == "encode" else "16", "1", "32-true"]
    assert float(rows[0][4]) > 0


@pytest.mark.usefixtures("tiny")
def test_static_students_are_measured_beside_transformers(run, monkeypatch):
    static = importlib.import_module("static")
    monkeypatch.setattr(static, "STEPS", {"static": 1, "transformer": 1})
    monkeypatch.setattr(static, "DOCUMENTS", {"static": 20, "transformer": 20})
    rows = run("static", "--warmup", "1")
    assert [row[:2] for row in rows] == [["synthetic", "static"], ["synthetic", "MiniLM, 1 layers"]]
    assert rows[0][3] == rows[0][5] == "1"
    assert all(float(row[2]) > 0 and float(row[4]) > 0 for row in rows)


def test_pairs_are_measured_beside_scipy_and_tables(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    monkeypatch.setattr(sys, "argv", ["pairs", "--documents", "300", "--queries", "20"])
    importlib.import_module("pairs").main()
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == [
        "| inverted lists",
        *(f"| re-ranking, {k}" for k in ("dense", "sparse", "multi")),
    ]
    assert [row[1] for row in rows] == ["6,000", "400", "400", "400"]


def test_language_models_are_measured_beside_plain_transformers(monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    tiny = ["--layers", "1", "--width", "64", "--rounds", "1", "--candidates", "5"]
    monkeypatch.setattr(sys, "argv", ["llm", *tiny])
    importlib.import_module("llm").main()  # which compares the scores
    rows = [line.split(" | ") for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[0] for row in rows] == ["| plain", "| ours, without a prefix", "| ours"]


def test_batches_are_those_of_the_file(monkeypatch, tmp_path):
    """Ours draws the lists in the order in which the file gives them to the peers."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import ours

    from limbeck.data.sampling import Lists, ListSampler, Order

    lists = [
        {"query_id": f"q{i}", "document_ids": [f"d{i}-{j}" for j in range(8)], "scores": [float(j) for j in range(8)],
         "ranks": list(range(1, 9))}
        for i in range(24)
    ]  # fmt: skip
    (tmp_path / "lists.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lists))
    pool = ours.pool(tmp_path, seed=3, batch=8)
    drawn = Lists(pool, ListSampler(positives=1, negatives=7), 3)
    examples = [example for batch in Order(24, 3, 8, 3) for example in drawn.__getitems__(batch)]
    assert [example.query_id for example in examples] == [each["query_id"] for each in lists]
    assert [example.document_ids for example in examples] == [each["document_ids"] for each in lists]
    assert [list(example.teacher_scores) for example in examples] == [each["scores"] for each in lists]


@pytest.mark.slow
def test_the_page_of_a_gpu_is_written(monkeypatch, tmp_path):
    """At the size of a toy and on the processor; the tests that belong to it are in tests/gpu."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    gpu = importlib.import_module("gpu")
    shape = {"hidden_size": 48, "num_hidden_layers": 1, "intermediate_size": 48}
    toy = gpu.SIZES["cpu"]._replace(models={"toy": shape}, lengths=(16,), warmup=1, steps=1)
    monkeypatch.setitem(gpu.SIZES, "cpu", toy)
    monkeypatch.setattr(gpu.ours, "CANDIDATES", toy.candidates)
    monkeypatch.setattr(gpu, "find_spec", lambda _: None)
    monkeypatch.setattr(sys, "argv", ["gpu", "--device", "cpu", "--no-tests", "--out", str(tmp_path / "gpu.md")])
    gpu.main()
    page = (tmp_path / "gpu.md").read_text()
    assert "the processor (a dry run)" in page
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| toy |")]
    assert [len(row) for row in rows] == [9, 4, 4]
    assert float(rows[0][2]) > 0
    cells = [
        line.strip("| ").split(" | ") for line in page.partition("## Where the time of a step goes")[2].splitlines()
    ]
    shares = {row[0]: float(row[2].rstrip("%")) for row in cells if len(row) == 3 and row[2].endswith("%")}
    assert {"forward", "backward", "optimiser", "clipping", "loss", "waiting for data", "logging"} <= shares.keys()
    assert sum(shares.values()) == pytest.approx(100, abs=1)
