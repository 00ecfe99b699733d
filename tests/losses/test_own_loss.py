"""A loss of a user's own package: one file, and it composes, trains, and is held to the laws."""

import sys

import pytest

from limbeck import config
from limbeck.losses import laws
from limbeck.losses.document import EXAMPLE

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
    """Run a program in a copy of this process that has a package with one loss; returns its status and output."""

    def call(name, text, *words, main=None):
        package = tmp_path / "theirlosses"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("", encoding="utf-8")
        (package / f"{name}.py").write_text(text, encoding="utf-8")

        def known():
            sys.path.insert(0, str(tmp_path))
            config.entries.cache_clear()

        return forked.run(words, tmp_path, env={"LIMBECK_PACKAGES": "theirlosses"}, first=known, main=main)

    return call


def test_the_example_of_the_page_obeys_all_laws_and_trains(run, small, cache, tmp_path):
    status, out = run("sharp_kl", EXAMPLE, "sharp_kl", main=laws.main)
    assert (status, out) == (0, "sharp_kl: 29 checks of 17 laws, 0 failed\n"), out
    words = [*small, f"paths.cache={cache}", "loss=sharp_kl", "loss.sharp_kl.sharpness=3", "trainer.steps=2"]
    words += ["eval.start=false", "eval.teacher=false", "trainer.validate_every=0"]
    words += ["loss.sharp_kl.schedules={sharpness:{kind:linear,start:1,end:3,steps:2}}"]
    status, out = run("sharp_kl", EXAMPLE, "train", *words)
    assert status == 0, out
    (recorded,) = tmp_path.glob("runs/**/config.yaml")
    assert "loss/sharp_kl" in recorded.read_text()
    status, out = run("sharp_kl", EXAMPLE, "train", *words, "loss.sharp_kl.sharpness=0")
    assert status == 2
    assert "loss.sharp_kl.sharpness must be > 0" in out


def test_a_loss_that_breaks_laws_is_found_out(run):
    status, out = run("broken", BROKEN, "broken", main=laws.main)
    assert status == 1
    broken = {line.split(" ")[0].rstrip(":") for line in out.splitlines() if line[:1] not in (" ", "")}
    assert {"blind_to_padding", "padding_is_absence", "order_of_candidates", "shift"} <= broken


def test_what_is_no_loss_on_scores_has_no_laws(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["laws", "flops"])
    with pytest.raises(SystemExit, match="flops is no loss on scores; known are adr_mse, approx_ndcg"):
        laws.main()
