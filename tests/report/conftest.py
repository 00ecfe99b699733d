"""A sweep of small real runs: two losses, two seeds, one run that failed; made once."""

import shutil
import sys

import pytest

from limbeck.cli.main import main


def call(*words):
    """Call the command in this process; returns its exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["limbeck", *words])
        try:
            main()
        except SystemExit as stop:
            return int(stop.code or 0)
    return 0


@pytest.fixture(scope="session")
def made(tmp_path_factory, two_losses, cache):
    """The folder of the sweep; not to be changed."""
    root = tmp_path_factory.mktemp("report")
    shutil.copytree(two_losses / "s", root / "sweep")
    places = [f"paths.cache={cache}", f"paths.runs={root}", "name=sweep"]
    assert call("train", *places, "data=collection", f"data.collection={root}/absent") != 0
    return root / "sweep"


@pytest.fixture
def sweep(made, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(made, tmp_path / "runs" / "sweep")
