"""Execute the notebooks and store them with what they show: ``python notebooks/execute.py [NAME ...]``.

They read ``runs/notebook_losses``: ``limbeck train sweeps=notebook_losses`` makes it, in a minute.
"""

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).parent


def execute(path: Path) -> None:
    """Execute one and write it, without what differs from one execution to the next."""
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=600).execute(cwd=str(FOLDER))
    for cell in notebook.cells:
        cell.metadata.clear()
    notebook.metadata = {key: notebook.metadata[key] for key in ("kernelspec", "language_info")}
    notebook.metadata["language_info"] = {"name": "python"}
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(each.stem for each in FOLDER.glob("*.ipynb")):
        execute(FOLDER / f"{name}.ipynb")
        print(f"{name}: executed")
