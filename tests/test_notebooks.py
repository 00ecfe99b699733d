"""The notebooks, executed on a small sweep, and the page of Python, executed as if it were one."""

import base64
import importlib
import inspect
import json
import logging
import os
import re
import signal
from pathlib import Path

import nbformat
import pytest
from jupyter_client import BlockingKernelClient, write_connection_file
from nbformat import NotebookNode

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


def test_a_fresh_kernel_shows_what_limbeck_returns(tmp_path, monkeypatch):
    """By the program that stores the notebooks of this folder; the kernel below is a copy of this process."""
    monkeypatch.syspath_prepend(str(ROOT / "notebooks"))
    notebook = nbformat.read(NOTEBOOKS[0], 4)
    text = 'import limbeck\nlimbeck.compose("loss=ckl", "loss.ckl.gamma=3")["loss"]["ckl"]["gamma"]'
    notebook.cells = [nbformat.v4.new_code_cell(text, metadata={"collapsed": True})]
    nbformat.write(notebook, tmp_path / "one.ipynb")
    importlib.import_module("execute").execute(tmp_path / "one.ipynb")
    stored = nbformat.read(tmp_path / "one.ipynb", 4)
    (cell,) = stored.cells
    assert shown(cell.outputs)["text/plain"] == "3.0"
    assert (cell.execution_count, cell.metadata) == (1, {})
    assert stored.metadata == notebook.metadata


@pytest.fixture(scope="module")
def kernel(tmp_path_factory, forked):
    """One kernel for all, a copy of this process: a fresh one would import torch and matplotlib anew."""
    folder = tmp_path_factory.mktemp("kernel")
    file, _ = write_connection_file(str(folder / "kernel.json"))

    importlib.import_module("limbeck.reporting.page.page")  # Bokeh

    def program():
        from ipykernel.kernelapp import IPKernelApp

        logging.getLogger("limbeck").handlers.clear()  # those of the command
        os.environ |= {
            "TMPDIR": str(folder),
            "COLUMNS": "200",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        }
        IPKernelApp.launch_instance(["-f", file])

    child = forked.start([], folder, main=program)
    client = BlockingKernelClient(connection_file=file)
    client.load_connection_file()
    client.start_channels()
    try:
        client.wait_for_ready(60)
        yield client
    finally:
        client.shutdown()
        client.stop_channels()
        os.kill(child, signal.SIGKILL)
        forked.status(child)


@pytest.fixture
def execute(kernel):
    """Execute cells, as if in a kernel of their own; returns the outputs of each."""

    def run(cells: list[str], **environment: object) -> list[list[NotebookNode]]:
        given = {key: str(value) for key, value in environment.items()}
        set_given = f"""
            import os
            for name in ("LIMBECK_SWEEP", "LIMBECK_BASELINE"):
                os.environ.pop(name, None)
            os.environ.update({given})
        """
        found = []
        for cell in ("%reset -f", inspect.cleandoc(set_given), "%reset -f", *cells):
            messages: list[dict] = []
            kernel.execute_interactive(cell, output_hook=messages.append, timeout=120, allow_stdin=False)
            shown = [
                each for each in messages if each["msg_type"] in ("stream", "display_data", "execute_result", "error")
            ]
            found.append([nbformat.v4.output_from_msg(each) for each in shown])
            assert not [each for each in found[-1] if each.output_type == "error"], "\n".join(found[-1][-1].traceback)
        return found[3:]

    return run


@pytest.fixture
def notebook(execute):
    """Execute a notebook; returns all text and all pictures."""

    def run(name: str, **environment: object) -> tuple[str, list[bytes]]:
        cells = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", 4).cells
        found = execute([cell.source for cell in cells if cell.cell_type == "code"], **environment)
        outputs = [output for each in found for output in each]
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
def test_ckl_explained(notebook):
    text, pictures = notebook("ckl_explained")
    assert len(pictures) == 3
    assert re.search(r"KL 0\.\d{4}, CKL 0\.\d{4}", text)


@pytest.mark.slow
def test_reading_a_sweep(notebook, two_losses):
    sweep = two_losses / "s"
    text, pictures = notebook("reading_a_sweep", LIMBECK_SWEEP=sweep, LIMBECK_BASELINE="kl")
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
def test_teacher_quality(notebook, two_losses):
    text, pictures = notebook("teacher_quality", LIMBECK_SWEEP=two_losses / "s")
    assert len(pictures) == 3  # entropy, places of the positives, gains
    assert "20 queries" in text
    (share,) = re.findall(r"a positive is first by the teacher on (\d+)%", text)
    assert 50 <= int(share) <= 100  # it misreads one query in five
    buckets = re.findall(r"teacher \S+ to \S+, (\d+) queries: ndcg@10 [+-]\d\.\d{3}", text)
    assert sum(map(int, buckets)) == 20


@pytest.mark.slow
def test_the_page_of_python_runs_in_a_notebook(execute, tmp_path):
    """A sweep, its table and its report in one process, and all else that docs/howto/python.md shows."""
    found = blocks(ROOT / "docs" / "howto" / "python.md")
    for language, text in found:
        if language == "yaml":
            path = tmp_path / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(parents=True)
            path.write_text(text)
    texts = [f"%cd -q {tmp_path}", *(text for language, text in found if language == "python")]
    score, _, trained, swept, table, other, error, _ = execute(texts)[1:]
    assert re.match(r"\[\('d2', 0\.\d+\), \('d1', ", shown(score)["text/plain"])
    assert "student, distilled" in written(trained)
    assert "student, distilled" in shown(swept)["text/html"]
    assert shown(table)["text/plain"] == "'runs/losses/report.html'"
    assert (tmp_path / "runs" / "losses" / "report.html").is_file()
    assert "Two losses" in (tmp_path / "tables" / "losses.md").read_text()
    assert shown(other)["text/plain"] == "5.0"
    assert written(error).startswith("loss.ckl.gama is no key of the configuration; did you mean gamma?")


def shown(outputs):
    (found,) = [each["data"] for each in outputs if "data" in each]
    return found


def written(outputs):
    return "".join(each["text"] for each in outputs if each.get("name") == "stdout")
