"""The rehearsal of the reproduction: its commands are the pages', its collection has the shape that it claims."""

import dataclasses
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

import measured  # noqa: E402
import msmarco_files as files  # noqa: E402
import msmarco_like as like  # noqa: E402
import rehearsal  # noqa: E402
import rehearsal_projection as projection  # noqa: E402
from rehearsal_steps import RULES, STEPS, Sizes, Step, of_beir  # noqa: E402

PAGES = ROOT / "docs" / "reproduction"
SIZES = Sizes(1_000_000, 50_000, 2_000, 700, 16_000_000, 250_000, 5, 1)


def commands_of(page):
    """Return the commands of a page, in order, as words; what only shows the use of another is left out."""
    blocks = re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8").replace("\\\n", " "), re.DOTALL)
    return [tuple(shlex.split(line)) for block in blocks for line in block.splitlines() if line.strip()]


def test_every_command_of_the_pages_is_rehearsed_in_their_order():
    first = PAGES / "README.md"
    listed = re.findall(r"^\| \[.*?\]\((\w+\.md)\)", first.read_text(encoding="utf-8"), re.MULTILINE)
    assert {first.name, *listed} == {page.name for page in PAGES.glob("*.md")}
    rehearsed = [tuple(shlex.split(step.command)) for step in STEPS if step.of_page]
    for page in (first, *(PAGES / name for name in listed)):
        asked = commands_of(page)
        assert asked, page
        there = [command for command in rehearsed if command in asked]
        assert there == asked, page.name
    assert sum(len(commands_of(page)) for page in PAGES.glob("*.md")) == len(rehearsed)


def test_names_and_rules_of_steps_are_known():
    assert len({rehearsal.slug(step.name) for step in STEPS}) == len(STEPS)
    assert {
        rule for step in STEPS for rule in (step.rule, step.disk_rule, *(each for _, each in step.parts)) if rule
    } <= set(RULES)


def test_words_of_the_rehearsal_take_the_place_of_those_of_the_page(tmp_path):
    step = Step("s", "limbeck index bf16=true out=a", more=("bf16=false", "trainer.steps={updates}"))
    words = rehearsal.words_of(step, step.command, SIZES, tmp_path)
    assert words == ["limbeck", "index", "bf16=false", "out=a", "trainer.steps=5"]


def test_a_run_is_named_by_its_folder(tmp_path):
    (tmp_path / "runs" / "warm" / "abc").mkdir(parents=True)
    (tmp_path / "runs" / "warm" / "abc" / "result.json").touch()
    step = Step("s", "limbeck export run=runs/warm/ID out=b")
    assert rehearsal.words_of(step, step.command, SIZES, tmp_path)[2] == "run=runs/warm/abc"


def test_the_first_stages_of_beir_are_named_as_the_sets_are():
    sets = {
        path.stem: path.read_text(encoding="utf-8") for path in (ROOT / "conf" / "eval" / "sets" / "beir").glob("*")
    }
    assert {of_beir(name)[1].rpartition("/")[2].removesuffix(".trec") for name in like.BEIR} == set(sets)
    for name, (documents, queries) in like.BEIR.items():
        text = sets[name.partition("/")[0].replace("-", "_")]
        assert f"documents: {documents}\nqueries: {queries}\n" in text + "\n"
        assert ("drop_self: true" in text) == ("data.drop_self=true" in of_beir(name)[0])


PARTS = Step("s", "limbeck mine", "search", [("^index: ", "passages"), ("^trained:", "updates")], disk_rule="passages")
LOG = """$ limbeck mine
     1.0 the passages, 3 %
    40.0 index: 12 s
    60.0 trained: 5
   100.0 the end
"""


def test_time_in_a_log_grows_by_the_rule_of_its_part():
    assert projection.intervals(PARTS, LOG) == {"search": 40.0, "passages": 40.0, "updates": 20.0}
    assert projection.intervals(PARTS, LOG + LOG) == {"search": 80.0, "passages": 80.0, "updates": 40.0}


def test_a_step_is_projected_by_its_rules():
    """Half of the time is the processor's: 5 s of start-up, then 15, 10 and 20."""
    record = {"cpu": 50.0, "disk": 500.0}
    work = projection.worked(record, PARTS, LOG)
    assert work == pytest.approx({"passages": 20.0, "updates": 10.0, "search": 20.0})
    full = projection.in_proportion(work, SIZES, 5.0)
    passages, queries = like.PASSAGES / 1_000_000, like.QUERIES / 2_000
    assert full == pytest.approx({"passages": 5 + 15 * passages, "updates": 10.0, "search": 20 * passages * queries})
    found = projection.projected(record, PARTS, SIZES, full)
    assert found["cpu hours"] == pytest.approx(sum(full.values()) / 3600)
    assert found["disk GB"] == pytest.approx(0.5 * passages)
    assert found["mostly"] == "search"


def test_a_smaller_rehearsal_beside_says_what_does_not_grow():
    """Of 15 s at a million passages and 6 at 100,000, 5 do not grow."""
    smaller = dataclasses.replace(SIZES, passages=100_000)
    full = projection.along_a_line(
        {"passages": 15.0, "updates": 3.0}, SIZES, {"passages": 6.0, "updates": 2.0}, smaller
    )
    assert full == pytest.approx({"passages": 5 + 10 * like.PASSAGES / 1_000_000, "updates": 3.0})


def test_nothing_grows_at_full_size():
    whole = dataclasses.replace(
        SIZES,
        passages=like.PASSAGES,
        queries=like.QUERIES,
        searched=like.QUERIES,
        dev=like.DEV,
        pairs=like.PAIRS,
        beir=sum(documents for documents, _ in like.BEIR.values()),
    )
    assert {whole.factor(rule) for rule in RULES} == {1.0}


def test_what_a_command_takes_is_that_of_all_its_processes(tmp_path):
    """A grandchild holds 120 MB and works for a while; 50 MB are left on the disk."""
    inner = "import time; held = bytearray(b'1') * 120_000_000; [0 for _ in range(2_000_000)]; time.sleep(0.7)"
    outer = f"import subprocess, sys; open('left', 'wb').write(b'1' * 50_000_000); print('said');" \
        f" subprocess.run([sys.executable, '-c', {inner!r}])"  # fmt: skip
    (tmp_path / "kept").mkdir()
    log = tmp_path / "log"
    found = measured.measure([sys.executable, "-c", outer], tmp_path / "kept", log, {}, [tmp_path / "kept"])
    assert found.status == 0
    assert 120 < found.memory.own < 220
    assert found.memory.own < found.memory.resident
    assert 49 < found.disk < 60
    assert 0 < found.cpu < found.wall * 2
    assert re.search(r"^ +\d+\.\d said$", log.read_text(), re.MULTILINE)


def test_pages_of_a_mapped_file_are_no_own_memory(tmp_path):
    (tmp_path / "file").write_bytes(bytes(150_000_000))
    code = "import mmap, time; f = open('file', 'rb'); m = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ);"
    code += "sum(m[:: mmap.PAGESIZE]); time.sleep(0.7)"
    found = measured.measure([sys.executable, "-c", code], tmp_path, tmp_path / "log", {}, [])
    assert found.memory.resident > 150
    assert found.memory.own < 50


@pytest.fixture(scope="module")
def world():
    return like.World(3_000, 170, 5)


def test_passages_have_the_stated_shape(world):
    ((first, texts),) = world.blocks()
    lengths = np.diff(texts.starts)
    assert first == 0
    assert len(lengths) == 3_000
    assert lengths.mean() == pytest.approx(like.WORDS, rel=0.03)
    assert lengths.std() == pytest.approx(like.DEVIATION, rel=0.1)
    counts = np.bincount(texts.words, minlength=like.VOCABULARY)
    share = 1 / np.sum(1 / np.arange(1, like.VOCABULARY + 1))  # of the most frequent word, exponent 1
    assert counts[0] / counts.sum() == pytest.approx(share * (1 - like.TOPICAL), rel=0.05)
    assert counts[9] / counts[0] == pytest.approx(0.1, rel=0.15)
    topical = np.isin(texts.words, np.unique(world.topic_words)).mean()
    assert like.TOPICAL < topical < like.TOPICAL + 0.05


def test_words_differ_and_come_as_they_are_written(world):
    names = world.names.to_pylist()
    assert len(set(names)) == like.VOCABULARY
    texts = like.Texts(np.array([0, 40, 41]), np.array([0, 1, 3]))
    assert texts.strings(world.names).to_pylist() == [names[0], f"{names[40]} {names[41]}"]


def test_the_same_seed_gives_the_same_collection(world):
    again, other = like.World(3_000, 170, 5), like.World(3_000, 170, 6)
    assert (again.block(0).words == world.block(0).words).all()
    assert (other.topic != world.topic).any()


def test_ir_datasets_reads_what_is_written(world, tmp_path):
    """In a process of its own, as ir_datasets takes its home on import."""
    counted = files.write(tmp_path, world, 20)
    assert counted["words a query"] == pytest.approx(like.QUERY, rel=0.05)
    code = """
import json, ir_datasets
found = {}
for split in ("train/judged", "train", "train/medical", "dev/small", "trec-dl-2019/judged", "trec-dl-2020/judged"):
    data = ir_datasets.load(f"msmarco-passage/{split}")
    found[split] = [len(list(data.queries_iter())), len(list(data.qrels_iter()))]
data = ir_datasets.load("msmarco-passage/train/judged")
texts = {each.doc_id: set(each.text.split()) for each in data.docs_iter()}
positive = {each.query_id: each.doc_id for each in data.qrels_iter()}
found["passages"] = len(texts)
found["shared"] = [len(set(q.text.split()) & texts[positive[q.query_id]]) for q in data.queries_iter()]
found["grades"] = sorted({each.relevance for each in ir_datasets.load("msmarco-passage/trec-dl-2020").qrels_iter()})
print(json.dumps(found))
"""
    environment = {"IR_DATASETS_HOME": str(tmp_path), "IR_DATASETS_DL_DISABLE_PBAR": "true", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    found = json.loads(done.stdout)
    assert found["passages"] == 3_000
    assert found["train/judged"] == [170, 170]
    assert found["train"] == [170 + round(170 * (like.TEXTS - like.QUERIES) / like.QUERIES), 170]
    assert found["train/medical"] == [20, 20]
    assert found["dev/small"] == [20, 20]
    assert [found[f"trec-dl-20{year}/judged"][0] for year in (19, 20)] == [43, 54]
    assert found["grades"] == [0, 1, 2, 3]
    assert min(found["shared"]) >= 1
    assert np.mean(found["shared"]) > 3


@pytest.mark.slow
def test_steps_run_once_and_have_a_row_each(tmp_path, monkeypatch, capsys):
    asked = ["rehearsal.py", "--passages", "400", "--folder", str(tmp_path), "--only", "teacher"]
    monkeypatch.setattr(rehearsal, "IMPORTED", "numpy")  # not torch and all else
    monkeypatch.setattr(sys, "argv", asked)
    rehearsal.main()
    rows = {row["step"]: row for row in json.loads((tmp_path / "rehearsal.json").read_text())["rows"]}
    assert len(rows) == len(STEPS)
    assert rows["download"]["not run"].startswith("no network")
    assert rows["lists"]["not run"] == "not asked for"
    teacher = rows["teacher"]
    assert teacher["wall"] > 0
    assert teacher["own"] > 50
    assert teacher["full size"]["cpu hours"] > 0
    assert teacher["disk"] > 0.1
    assert (tmp_path / "ckl2024" / "teacher" / "meta.json").exists()
    told = capsys.readouterr().out
    assert re.search(r"^\| teacher \| \d+ \| \d+ \|.*\| in scored pairs \|", told, re.MULTILINE)
    monkeypatch.setattr(measured, "measure", None)  # a step that was measured is not given again
    rehearsal.main()
