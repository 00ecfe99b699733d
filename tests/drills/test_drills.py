"""Small drills: the same code as `make drills`, with a few kills and races of the commands that are quick."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import race
import run
from compare import compare


@pytest.mark.parametrize(
    ("versions", "clean"),
    [
        ([[], ["1,0.5", "2,0.25"]], True),
        ([["1,0.5"], ["2,0.25"]], True),
        ([["1,0.5", "2,0.25"], ["2,0.25"]], True),
        ([["1,0.5"], []], False),
        ([["1,0.5", "2,0.25"], ["2,0.125"]], False),
    ],
)
def test_metrics_of_all_versions_are_one_file(versions, clean, tmp_path):
    """A run that is killed before its first line leaves a version with hyper-parameters alone, or with no file."""

    def write(name, version, lines):
        folder = tmp_path / name / "metrics" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "hparams.yaml").write_text("device: cpu\n")
        if lines:
            (folder / "metrics.csv").write_text("\n".join(["step,train/loss", *lines, ""]))

    write("reference", 0, ["1,0.5", "2,0.25"])
    for version, lines in enumerate(versions):
        write("folder", version, lines)
    assert compare(tmp_path / "reference", tmp_path / "folder").clean == clean
    (tmp_path / "folder" / "metrics" / "version_0" / "hparams.yaml").write_text("device: gpu\n")
    assert compare(tmp_path / "reference", tmp_path / "folder").different == ["metrics/hparams.yaml"]


def test_killed_commands_end_with_what_undisturbed_ones_leave(forked, tmp_path):
    record = tmp_path / "record.json"
    words = ["--kills", "3", "--rounds", "1", "--seed", "3", "--commands", "import,train", "--queries", "50"]
    (tmp_path / "drill").mkdir()
    words += ["--folder", str(tmp_path / "drill"), "--json", str(record)]
    status, out = forked.run(words, tmp_path, main=run.main)
    assert status == 0, out
    told = json.loads(record.read_text())
    assert told["kills"] >= 3
    assert told["compared"]["weights, bit by bit"] >= 1
    assert told["lost"] == told["doubled"] == told["different"] == told["held"] == []


def test_commands_that_race_on_a_cold_cache_leave_what_one_leaves(tmp_path):
    record = race.drill(tmp_path, ["mine", "import"], starts=4, seed=6, queries=20)
    assert record["damaged"] == []
    assert record["cold_starts"] == 4
    assert record["files_compared"] >= 42
