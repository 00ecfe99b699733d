"""Write the skeleton of a user's package with a loss: complete, tested, and outside Limbeck."""

import keyword
import re
from importlib.util import find_spec
from pathlib import Path

from limbeck.config import ConfigError, entries, home

_LOSS = r'''"""{name}: KL divergence from a teacher that is sharper, or flatter, than it is by itself."""

from limbeck.losses.lists import log_softmax
from limbeck.losses.on_scores import Unread, on_scores
from limbeck.losses.ranges import Positive
from limbeck.registry import register
from torch import Tensor


@register("loss", "{name}")
@on_scores
def {name}(
    student: Tensor,
    teacher: Tensor,
    labels: Unread,
    mask: Tensor,
    *,
    sharpness: Positive = 1.0,
) -> Tensor:
    r"""KL divergence of the student from the sharpened teacher, per query.

    ```math
    \sum_i p_i \ln\frac{{p_i}}{{q_i}}, \quad
    q = \mathrm{{softmax}}(s), \; p = \mathrm{{softmax}}(κ t)
    ```

    with the student's scores s, the teacher's t, and κ, the sharpness.

    Parameters
    ----------
    student, teacher
        (B, L) raw scores; the teacher is detached.
    labels
        Not read; None will do.
    mask
        (B, L) bool, False for padding.
    sharpness
        κ > 0, factor of the teacher's scores; 1 is plain KL.

    Returns
    -------
    Tensor
        (B,) in nats, >= 0.

    References
    ----------
    The paper that it comes from.

    Notes
    -----
    When to use it.
    """
    log_q = log_softmax(student, mask)
    log_p = log_softmax(sharpness * teacher, mask)
    return (log_p.exp() * (log_p - log_q)).sum(-1)
'''

_TEST = '''"""{name} equals a loop over the candidates of each query, and obeys the laws that all losses obey."""

import math

import pytest
import torch
from limbeck.losses.cases import cases
from limbeck.losses.laws import broken

from {package}.{name} import {name}

MASK = torch.tensor([[True, True, True, True], [True, True, False, False], [True, False, False, False]])


def softmax(scores):
    powers = [math.exp(score) for score in scores]
    return [power / sum(powers) for power in powers]


def loop(student, teacher, sharpness):
    values = []
    for query in range(len(MASK)):
        candidates = [i for i in range(MASK.shape[1]) if MASK[query, i]]
        q = softmax([student[query, i].item() for i in candidates])
        p = softmax([sharpness * teacher[query, i].item() for i in candidates])
        values.append(sum(p_i * math.log(p_i / q_i) for p_i, q_i in zip(p, q, strict=True)))
    return values


@pytest.mark.parametrize("sharpness", [1.0, 2.5])
def test_it_is_what_a_loop_computes(sharpness):
    student, teacher = torch.randn(2, 3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = {name}(student, teacher, None, MASK, sharpness=sharpness)
    assert found.tolist() == pytest.approx(loop(student, teacher, sharpness))


@pytest.mark.parametrize("case", cases({name}), ids=str)
def test_it_obeys_the_laws(case):
    assert broken(case) == []
'''

_PROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{project}"
version = "0.1.0"
description = "Losses for Limbeck"
dependencies = ["limbeck"]

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.pytest.ini_options]
pythonpath = ["."]
"""

_SAID = """\
wrote {files}

Write your formula into {loss} and into the loop of its test. Then:

  cd {folder}
  export PYTHONPATH="$PWD:$PYTHONPATH" LIMBECK_PACKAGES={package}
  python -m pytest
  python -m limbeck.losses.laws {name}
  limbeck train loss={name} loss.{name}.sharpness=2
  limbeck help loss.{name}

After pip install -e . PYTHONPATH is not needed; LIMBECK_PACKAGES always is.
No YAML is needed. More: docs/howto/extending.md"""


def write(name: str, folder: Path) -> str:
    """Write a package with a loss, or add a loss to a package written before.

    Parameters
    ----------
    name
        Name of the loss, as in ``loss=NAME``.
    folder
        Folder of the project; the package in it has the same name.

    Returns
    -------
    str
        The files written, and the next commands.

    Raises
    ------
    ConfigError
        The name is invalid or taken, the folder lies in Limbeck's checkout, or a file exists already. Nothing is
        written then.
    """
    package = folder.absolute().name
    _check(name, package, folder)
    words = {"name": name, "package": package, "project": package.replace("_", "-")}
    loss, test = folder / package / f"{name}.py", folder / "tests" / f"test_{name}.py"
    texts = {loss: _LOSS.format(**words), test: _TEST.format(**words)}
    for path in texts:
        if path.exists():
            raise ConfigError(f"{path} exists; nothing was written: give another NAME, or out=FOLDER")
    once = {folder / "pyproject.toml": _PROJECT.format(**words), folder / package / "__init__.py": ""}
    texts |= {path: text for path, text in once.items() if not path.exists()}
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    files = "\n      ".join(map(str, sorted(texts)))
    return _SAID.format(**words, files=files, loss=loss.relative_to(folder), folder=folder)


def _check(name: str, package: str, folder: Path) -> None:
    for what, word in (("NAME", name), ("out", package)):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word) or keyword.iskeyword(word):
            raise ConfigError(
                f"{what} must be a name of small letters, digits and _ that Python can import, got {word!r}"
            )
    if ("loss", name) in entries():
        raise ConfigError(f"loss={name} is there already, {entries()['loss', name].path}; give another NAME")
    checkout = home().resolve()
    if checkout == folder.resolve() or checkout in folder.resolve().parents:
        raise ConfigError(f"out: {folder} lies in Limbeck's own folder; give one outside: out=../{package}")
    spec = find_spec(package)
    places = [] if spec is None else [Path(each) for each in spec.submodule_search_locations or []]
    if spec is not None and (folder / package).resolve() not in [each.resolve() for each in places]:
        raise ConfigError(f"out: a package {package} is installed already; give another name: out=FOLDER")
