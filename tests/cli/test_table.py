"""``limbeck table``: real runs into Markdown and LaTeX, and the commands beside them run again."""

import json
import re
import shlex
import shutil
import sys

import pytest

TABLE = """
caption: Losses on the synthetic world
runs: [s]
rows: [loss]
also: [first_stage, teacher]
baseline: {loss: kl}
labels: {loss: {kl: KL, ckl: CKL}}
"""


@pytest.fixture(scope="module")
def finished(two_losses):
    return two_losses


@pytest.fixture
def table(limbeck, tmp_path):
    """Call the command with a table of one's own; returns status, output and errors."""
    (tmp_path / "conf" / "table").mkdir(parents=True)
    (tmp_path / "conf" / "table" / "mine.yaml").write_text(TABLE)

    def call(*words):
        return limbeck("table", f"--config-dir={tmp_path / 'conf'}", "table=mine", "mix_commits=true", *words,
                       small=False)  # fmt: skip

    return call


def rows_of(path):
    """Return the lines of a table, in any order of the rows."""
    return sorted(line for line in path.read_text().splitlines() if line.startswith("|"))


def test_two_files_and_a_table_on_the_terminal(table, finished, tmp_path):
    status, out, err = table(f"paths.runs={finished}")
    assert status == 0, err
    assert re.search(r"KL +\d\.\d{3} ± \d\.\d{3}", out)
    assert "Mean ± standard deviation over 2 seeds." in out
    assert "paired t-test over queries, values averaged over seeds; Holm-adjusted p < 0.05, family of 3" in out
    assert "4 finished runs" in out
    text = (tmp_path / "tables" / "mine.md").read_text()
    assert "| KL |" in text
    assert "| *BM25 (k1=0.9, b=0.4)* |" in text
    assert r"\begin{tabular}{lrrr}" in (tmp_path / "tables" / "mine.tex").read_text()
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["mine.json", "mine.md", "mine.tex"]
    told = json.loads((tmp_path / "tables" / "mine.json").read_text())
    for row in told["rows"]:  # the same figures
        assert row["labels"][0] in text
        assert all(f"{cell['mean']:.3f}" in text for cell in row["cells"] if cell)
    assert len(told["rows"]) == len([line for line in text.splitlines() if re.match(r"\| (KL|CKL|kl|ckl)", line)])


def test_the_command_beside_a_row_makes_it_again(table, finished, tmp_path, monkeypatch, cache):
    from limbeck.cli.main import main

    table(f"paths.runs={finished}")
    text = (tmp_path / "tables" / "mine.md").read_text()
    (command,) = re.findall(r"^limbeck train .*loss=kl .*", text, re.MULTILINE)
    runs = tmp_path / "runs"
    shutil.copytree(finished, runs)
    lost = [path.parent for path in runs.glob("*/*/config.yaml") if "loss/kl" in path.read_text()]
    for path in lost:
        shutil.rmtree(path)
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), f"paths.cache={cache}"])
    main()
    assert all((path / "result.json").is_file() for path in lost)
    status, _, err = table(f"paths.runs={runs}", "out=again")
    assert status == 0, err
    assert rows_of(tmp_path / "again" / "mine.md") == rows_of(tmp_path / "tables" / "mine.md")


def test_a_run_that_is_missing_is_shown(table, finished, tmp_path):
    shutil.copytree(finished, tmp_path / "some")
    next((tmp_path / "some").glob("*/*/result.json")).unlink()
    status, out, _ = table(f"paths.runs={tmp_path / 'some'}")
    assert status == 0
    assert "(n=1 of 2)" in out
    assert "Left out, unfinished: 1 run" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["table=nine"], "table=nine does not exist; did you mean mine?"),
        (["table.baseline={loss: l1}"], "table.baseline: no row has loss: l1; there are kl, ckl"),
        (["table.runs=[t]"], "limbeck train sweeps=t makes it"),
        (["+table.columns={synthetic: [map]}"], "table.columns.synthetic has 'map', which no run computed"),
        (["partial=perhaps"], "partial must be true or false, got 'perhaps'"),
        (["comparison.test=u"], "comparison.test must be one of t, randomisation"),
        (["+tables=3"], "tables is no key of the configuration; did you mean table?"),
    ],
)
def test_what_is_wrong_is_named(table, finished, words, message):
    status, _, err = table(f"paths.runs={finished}", *words)
    assert status == 2
    assert message in err


def test_a_table_must_be_chosen(limbeck):
    status, _, err = limbeck("table", small=False)
    assert status == 2
    assert "table" in err
    assert "small_losses" in err
