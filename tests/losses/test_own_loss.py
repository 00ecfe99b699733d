"""A loss of a user's own package: written as a start, it composes, trains, and is held to the laws."""

import sys

import pytest

from limbeck import config
from limbeck.losses import laws

BROKEN = '''
"""A loss with every fault that padding, order and autocast allow."""

from torch import Tensor

from limbeck.losses.on_scores import Unread, on_scores
from limbeck.registry import register


@register("loss", "broken")
@on_scores
def broken(student: Tensor, teacher: Tensor, labels: Unread, mask: Tensor) -> Tensor:
    return (student - teacher).square().cumsum(-1).mean(-1)
'''


@pytest.fixture
def run(forked, tmp_path):
    """Run a program in a copy of this process that knows the package in ``theirlosses``; returns status and output."""

    def call(*words, main=None):
        def known():
            sys.path.insert(0, str(tmp_path / "theirlosses"))
            config.entries.cache_clear()

        return forked.run(words, tmp_path, env={"LIMBECK_PACKAGES": "theirlosses"}, first=known, main=main)

    return call


def test_a_written_package_passes_its_test_with_all_laws_and_trains(limbeck, run, small, cache, tmp_path):
    status, said, err = limbeck("new", "loss", "sharp_kl", "out=theirlosses", small=False)
    assert status == 0, err
    folder = tmp_path / "theirlosses"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == {"pyproject.toml", "theirlosses/__init__.py", "theirlosses/sharp_kl.py", "tests/test_sharp_kl.py"}
    for line in ("cd theirlosses", 'export PYTHONPATH="$PWD:$PYTHONPATH" LIMBECK_PACKAGES=theirlosses'):
        assert f"\n  {line}\n" in said
    words = ["-q", "-p", "no:cacheprovider", "-p", "no:xdist", str(folder)]
    status, out = run(main=lambda: sys.exit(pytest.main(words)))
    assert (status, "3 passed" in out) == (0, True), out
    words = [*small, f"paths.cache={cache}", "loss=sharp_kl", "loss.sharp_kl.sharpness=3", "trainer.steps=2"]
    words += ["eval.start=false", "eval.teacher=false", "trainer.validate_every=0"]
    words += ["loss.sharp_kl.schedules={sharpness:{kind:linear,start:1,end:3,steps:2}}"]
    status, out = run("train", *words)
    assert status == 0, out
    (recorded,) = tmp_path.glob("runs/**/config.yaml")
    assert "loss/sharp_kl" in recorded.read_text()
    status, out = run("train", *words, "loss.sharp_kl.sharpness=0")
    assert status == 2
    assert "loss.sharp_kl.sharpness must be > 0" in out


def test_a_written_loss_is_never_written_over(limbeck, tmp_path):
    test = tmp_path / "mine" / "tests" / "test_a_loss.py"
    test.parent.mkdir(parents=True)
    test.write_text("# mine")
    status, _, err = limbeck("new", "loss", "a_loss", "out=mine", small=False)
    assert (status, err.startswith("limbeck: mine/tests/test_a_loss.py exists; nothing was written")) == (2, True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [test]
    assert test.read_text() == "# mine"
    assert limbeck("new", "loss", "another", "out=mine", small=False)[0] == 0
    (tmp_path / "mine" / "pyproject.toml").write_text("# mine too")
    assert limbeck("new", "loss", "a_third", "out=mine", small=False)[0] == 0
    assert (tmp_path / "mine" / "pyproject.toml").read_text() == "# mine too"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["loss"], "write limbeck new loss NAME, or"),
        (["student", "mine"], "write limbeck new loss NAME, or"),
        (["loss", "Sharp KL"], "NAME must be a name of small letters"),
        (["loss", "lambda"], "NAME must be a name of small letters"),
        (["loss", "ckl"], "loss=ckl is there already, limbeck.losses.ckl.ckl"),
        (["loss", "mine", "out=my-losses"], "out must be a name of small letters"),
        (["loss", "mine", "out=torch"], "out: a package torch is installed already"),
        (
            ["loss", "mine", f"out={config.home() / 'mine'}"],
            "lies in Limbeck's own folder; give one outside: out=../mine",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(words, message, limbeck, tmp_path):
    status, _, err = limbeck("new", *words, small=False)
    assert (status, message in err) == (2, True), err
    assert not list(tmp_path.iterdir())


def test_a_loss_that_breaks_laws_is_found_out(run, tmp_path):
    package = tmp_path / "theirlosses" / "theirlosses"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "broken.py").write_text(BROKEN, encoding="utf-8")
    status, out = run("broken", main=laws.main)
    assert status == 1
    broken = {line.split(" ")[0].rstrip(":") for line in out.splitlines() if line[:1] not in (" ", "")}
    assert {"blind_to_padding", "padding_is_absence", "order_of_candidates", "shift"} <= broken


def test_what_is_no_loss_on_scores_has_no_laws(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["laws", "flops"])
    with pytest.raises(SystemExit, match="flops is no loss on scores; known are adr_mse, approx_ndcg"):
        laws.main()
