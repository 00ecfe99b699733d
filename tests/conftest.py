"""Shared fixtures: no network, seeded, small."""

import contextlib
import gc
import logging
import os
import sys
from pathlib import Path

# Must be set before transformers, numba or tokenizers are imported.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["NUMBA_DISABLE_JIT"] = "1"
os.environ["HF_DEACTIVATE_ASYNC_LOAD"] = "1"  # threads cost more than it takes to read a tiny model
os.environ["OMP_NUM_THREADS"] = "1"  # the models are tiny: threads of two test workers would only wait for each other
os.environ.setdefault("WANDB_MODE", "offline")

import pytest
import torch
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).parent))
from composing import compose_once
from forked import forked, forked_joblib  # noqa: F401 - fixtures
from limbeck.artefacts import Artefacts
from limbeck.cli.main import main
from small import SMALL

# Write compiled Python files even if the shell forbids it: otherwise each worker would compile all tests again, and
# each process that a test starts would compile limbeck.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
compose_once()
gc.set_threshold(20_000, 50, 50)  # collecting garbage among all imported objects took a tenth of the suite's time
ROOT = Path(__file__).parents[1]
SHARED = Path(os.environ.get("LIMBECK_SHARED", ROOT.parent / "shared"))


def pytest_addoption(parser):
    parser.addoption("--device", choices=["cuda", "cpu"], help="run the tests marked gpu, there")


@pytest.fixture(scope="session")
def device(request):
    """Device of the tests marked gpu."""
    return torch.device(request.config.getoption("--device"))


def pytest_collection_finish():
    """Exclude all imported and collected objects from garbage collection; patch what is imported."""
    gc.freeze()
    if "lightning" in sys.modules:
        from sparing import spare_lightning

        spare_lightning()
    if "limbeck.reporting.drawing" in sys.modules:
        from sparing_fonts import spare_fonts

        spare_fonts()


def pytest_collection_modifyitems(config, items):
    """Run the slow tests first: at the end, one would keep a worker busy while the other waits."""
    if config.getoption("--device") is None:
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="make gpu runs it: --device cuda, or --device cpu to try it"))
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def shared():
    """The folder of real collections next to the checkout; skips the test if it is missing."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"no real collections at {SHARED}/data")
    return SHARED / "data"


@pytest.fixture(scope="session")
def small():
    return SMALL


@pytest.fixture
def artefacts(tmp_path):
    return Artefacts(tmp_path / "cache")


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """One cache for all runs of the session: the small world is built once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def limbeck(monkeypatch, tmp_path, cache, capsys):
    """Call the command in this process; return (exit status, standard output, standard error)."""

    def call(*words, small=True):
        monkeypatch.chdir(tmp_path)
        overrides = [*SMALL, f"paths.cache={cache}"] if small else []
        monkeypatch.setattr(sys, "argv", ["limbeck", *words[:1], *overrides, *words[1:]])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return call


@pytest.fixture
def waited_for():
    """Hold a lock until another process logs that it waits for it."""

    @contextlib.contextmanager
    def held(path):
        lock, handler = FileLock(path), logging.Handler()
        handler.emit = lambda _: lock.release()
        logging.getLogger("limbeck.locks").addHandler(handler)
        try:
            lock.acquire()
            yield
        finally:
            logging.getLogger("limbeck.locks").removeHandler(handler)
            lock.release()

    return held


@pytest.fixture(scope="session")
def two_losses(tmp_path_factory, small, cache):
    """Four finished runs of the sweep ``s``: KL and CKL, two seeds each; returns the folder of sweeps.

    Tests must not change it: several test files read it.
    """
    place = tmp_path_factory.mktemp("finished")
    sweep = ["-m", "loss=kl,ckl", "seed=1,2", "name=s"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        patch.setattr(sys, "argv", ["limbeck", "train", *small, f"paths.cache={cache}", *sweep])
        main()
    return place / "runs"


@pytest.fixture
def folder(tmp_path):
    """A tiny BEIR folder."""
    path = tmp_path / "beir"
    (path / "qrels").mkdir(parents=True)
    documents = [("d1", "Cats", "cats purr"), ("d2", "", "dogs bark"), ("d 3", "Fish", "fish swim in the sea")]
    lines = [f'{{"_id": "{i}", "title": "{title}", "text": "{text}"}}' for i, title, text in documents]
    (path / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    (path / "queries.jsonl").write_text('{"_id": "q1", "text": "purring cats"}\n{"_id": "q2", "text": "swimming"}\n')
    (path / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\nq2\td 3\t1\n")
    (path / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq2\td 3\t1\n")
    return path


@pytest.fixture(scope="session")
def compose():
    """Compose the configuration of a verb with the command's result, in a third of its time."""
    import hydra

    from limbeck.config import home
    from limbeck.schemas import store_schemas

    def call(verb, *overrides, own=False):
        with hydra.initialize_config_dir(version_base="1.3", config_dir=str(home() / "conf")):
            return hydra.compose(verb, list(overrides), return_hydra_config=own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMBECK_HOME", str(home()))
        store_schemas()
        yield call
