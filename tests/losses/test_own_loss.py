"""A loss of a user's own package: one file, and it composes, trains, and is held to the laws."""

import os
import subprocess
import sys

import pytest

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
def package(tmp_path, monkeypatch):
    """Return what writes a package of losses; it is importable, and ``LIMBECK_PACKAGES`` names it."""

    def write(**modules):
        folder = tmp_path / "mylosses"
        folder.mkdir()
        for name, text in {"__init__": "", **modules}.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
        return {**os.environ, "LIMBECK_PACKAGES": "mylosses", "PYTHONPATH": path}

    return write


def laws(name, environment):
    command = [sys.executable, "-m", "limbeck.losses.laws", name]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_the_example_of_the_page_obeys_all_laws_and_trains(package, tmp_path):
    environment = package(sharp_kl=EXAMPLE)
    done = laws("sharp_kl", environment)
    assert (done.returncode, done.stdout) == (0, "sharp_kl: 29 checks of 17 laws, 0 failed\n"), (
        done.stdout + done.stderr
    )
    words = ["loss=sharp_kl", "loss.sharp_kl.sharpness=3", "trainer.steps=2", "eval.start=false", "eval.teacher=false"]
    words += ["trainer.validate_every=0", "loss.sharp_kl.schedules={sharpness:{kind:linear,start:1,end:3,steps:2}}"]
    command = [sys.executable, "-m", "limbeck", "train", *words]
    trained = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
    )
    assert trained.returncode == 0, trained.stderr
    (config,) = tmp_path.glob("runs/**/config.yaml")
    assert "loss/sharp_kl" in config.read_text()
    refused = subprocess.run(
        [*command, "loss.sharp_kl.sharpness=0"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert refused.returncode == 2
    assert "loss.sharp_kl.sharpness must be > 0" in refused.stderr


def test_a_loss_that_breaks_laws_is_found_out(package):
    done = laws("broken", package(broken=BROKEN))
    assert done.returncode == 1
    broken = {line.split(" ")[0].rstrip(":") for line in done.stdout.splitlines() if line[:1] not in (" ", "")}
    assert {"blind_to_padding", "padding_is_absence", "order_of_candidates", "shift"} <= broken


def test_what_is_no_loss_on_scores_has_no_laws():
    done = laws("flops", dict(os.environ))
    assert done.returncode == 1
    assert "flops is no loss on scores; known are adr_mse, approx_ndcg" in done.stderr
