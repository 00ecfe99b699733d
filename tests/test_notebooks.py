"""The notebooks, executed on a small sweep, and the page of Python, executed as if it were one."""

import base64
import inspect
import json
import os
import re
import sys
from pathlib import Path

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient import NotebookClient

from limbeck.cli.main import main
from limbeck.labels import LOSSES
from pages import blocks

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_three():
    assert [path.stem for path in NOTEBOOKS] == ["ckl_explained", "reading_a_sweep", "teacher_quality"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_they_are_stored_with_what_they_show_and_tell_of_no_machine(path):
    notebook = nbformat.read(path, 4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))  # in order, all of them
    outputs = [output for cell in code for output in cell.outputs]
    assert not [output for output in outputs if output.get("name") == "stderr" or output.output_type == "error"]
    assert any("image/png" in output.get("data", {}) for output in outputs)
    assert not any(cell.metadata for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert not re.search(r"/(home|root|tmp|work|Users|opt|mnt)/", path.read_text())
    assert path.stat().st_size < 300_000


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, cache, small):
    """Four finished runs: two losses, two seeds."""
    folder = tmp_path_factory.mktemp("notebooks")
    words = ["loss=kl,ckl", "seed=1,2", "name=small", "eval.start=false", "trainer.validate_every=0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["limbeck", "train", "-m", *small, f"paths.cache={cache}", *words])
        main()
    return folder / "runs" / "small"


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    """One kernel for all: each would import torch and matplotlib anew."""
    folder = tmp_path_factory.mktemp("kernel")
    manager = AsyncKernelManager()
    run_sync(manager.start_kernel)(env=os.environ | {"TMPDIR": str(folder), "COLUMNS": "200"}, cwd=str(folder))
    yield manager
    run_sync(manager.shutdown_kernel)(now=True)


@pytest.fixture
def execute(kernel):
    """Execute a notebook, as if in a kernel of its own; returns all text and all pictures."""

    def run(name: str, **environment: object) -> tuple[str, list[bytes]]:
        notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4)
        given = {key: str(value) for key, value in environment.items()}
        set_given = f"""
            import os
            for name in ("LIMBECK_SWEEP", "LIMBECK_BASELINE"):
                os.environ.pop(name, None)
            os.environ.update({given})
        """
        texts = "%reset -f", inspect.cleandoc(set_given), "%reset -f"
        notebook.cells[:0] = [nbformat.v4.new_code_cell(text) for text in texts]
        NotebookClient(notebook, timeout=120, km=kernel).execute()
        outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
        assert not [output for output in outputs if output.get("name") == "stderr"], outputs
        shown = [output.get("data", {}) for output in outputs]
        text = "".join(output.get("text", "") for output in outputs)
        text += "".join(each.get("text/markdown") or each.get("text/plain", "") for each in shown)
        text = re.sub(r"\x1b\[\d+m", "", text)  # of tables: bold and italic
        return text, [base64.b64decode(each["image/png"]) for each in shown if "image/png" in each]

    return run


def results(sweep: Path) -> dict[str, list[float]]:
    """Return nDCG@10 of the students, by loss."""
    found: dict[str, list[float]] = {}
    for path in sorted(sweep.glob("*/result.json")):
        (row,) = [row for row in json.loads(path.read_text())["rows"] if row["key"] == "student"]
        loss = "ckl" if "loss/ckl" in (path.parent / "config.yaml").read_text() else "kl"
        found.setdefault(loss, []).append(row["ndcg@10"])
    return found


@pytest.mark.slow
def test_ckl_explained(execute):
    text, pictures = execute("ckl_explained")
    assert len(pictures) == 3
    assert re.search(r"KL 0\.\d{4}, CKL 0\.\d{4}", text)


@pytest.mark.slow
def test_reading_a_sweep(execute, sweep):
    text, pictures = execute("reading_a_sweep", LIMBECK_SWEEP=sweep, LIMBECK_BASELINE="kl")
    assert len(pictures) == 4  # negatives to positives, against the teacher, gains, by the teacher's quality
    assert re.search(r"^ckl: \d+\.\d{3} at step 8$", text, re.MULTILINE)
    found = results(sweep)
    assert {loss: len(values) for loss, values in found.items()} == {"kl": 2, "ckl": 2}
    means = {loss: sum(values) / 2 for loss, values in found.items()}
    for loss, mean in means.items():
        assert re.search(rf"\| {LOSSES[loss]} \| (\*\*)?{mean:.3f}(\*\*)? ± ", text), text
    (difference,) = re.findall(r"synthetic +ndcg@10 +ckl +(-?\d\.\d+)", text)
    assert float(difference) == pytest.approx(means["ckl"] - means["kl"], abs=1e-4)


@pytest.mark.slow
def test_teacher_quality(execute, sweep):
    text, pictures = execute("teacher_quality", LIMBECK_SWEEP=sweep)
    assert len(pictures) == 3  # entropy, places of the positives, gains
    assert "20 queries" in text
    (share,) = re.findall(r"a positive is first by the teacher on (\d+)%", text)
    assert 50 <= int(share) <= 100  # it misreads one query in five
    buckets = re.findall(r"teacher \S+ to \S+, (\d+) queries: ndcg@10 [+-]\d\.\d{3}", text)
    assert sum(map(int, buckets)) == 20


@pytest.mark.slow
def test_the_page_of_python_runs_in_a_notebook(kernel, tmp_path):
    """A sweep, its table and its report in one process, and all else that docs/howto/python.md shows."""
    found = blocks(ROOT / "docs" / "howto" / "python.md")
    for language, text in found:
        if language == "yaml":
            path = tmp_path / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True)
            path.write_text(text)
    texts = ["%reset -f", f"%cd -q {tmp_path}", *(text for language, text in found if language == "python")]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in texts])
    NotebookClient(notebook, timeout=120, km=kernel).execute()
    score, _, trained, swept, table, other, error, _ = notebook.cells[2:]
    assert re.match(r"\[\('d2', 0\.\d+\), \('d1', ", shown(score)["text/plain"])
    assert "student, distilled" in written(trained)
    assert "student, distilled" in shown(swept)["text/html"]
    assert shown(table)["text/plain"] == "'runs/losses/report.html'"
    assert (tmp_path / "runs" / "losses" / "report.html").is_file()
    assert "Two losses" in (tmp_path / "tables" / "losses.md").read_text()
    assert shown(other)["text/plain"] == "5.0"
    assert written(error).startswith("loss.ckl.gama is no key of the configuration; did you mean gamma?")


def shown(cell):
    (found,) = [each["data"] for each in cell.outputs if "data" in each]
    return found


def written(cell):
    return "".join(each["text"] for each in cell.outputs if each.get("name") == "stdout")
