"""Checks of weights that a checkpoint lacks: random weights are an error unless they are trained."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from limbeck.backbones.adapters import plain_name
from limbeck.backbones.sources import some
from limbeck.config import ConfigError
from limbeck.students.folders import instead


@dataclass(frozen=True)
class Anew:
    """Parameters of a student that are initialised at random, because the checkpoint lacks them."""

    names: Sequence[str]
    """Parameters, by their names in the student without adapters."""
    path: str
    """The checkpoint."""
    labels: Sequence[str] = ()
    """Labels of the checkpoint's classifier, if there is not exactly one."""


def refuse_untrained(found: Anew, key: str) -> None:
    """Raise an error if a student that is not going to be trained has random weights.

    Parameters
    ----------
    found
        The random weights.
    key
        Prefix of the student's key, such as ``teacher.``.

    Raises
    ------
    ConfigError
        There are random weights; the message names them.
    """
    if found.names:
        raise ConfigError(
            f"model: {found.path!r} lacks {some(found.names)}, which would be random, and nothing trains them here: "
            f"the scores would be meaningless. {_remedy(found, key)}"
        )


def refuse_frozen(student: nn.Module, found: Anew) -> None:
    """Raise an error if a student in training has random weights that are frozen.

    Raises
    ------
    ConfigError
        There are such weights; the message names them.
    """
    trains = {
        plain_name(name) for name, value in student.named_parameters(remove_duplicate=False) if value.requires_grad
    }
    frozen = [name for name in found.names if name not in trains]
    if frozen:
        raise ConfigError(
            f"model: {found.path!r} lacks {some(frozen)}, which would be random and are frozen; choose a checkpoint "
            "that has them, or train them"
        )


def _remedy(found: Anew, key: str) -> str:
    if len(found.labels) == 2:
        return (
            f"Its classifier has two labels, {' and '.join(found.labels)}: {key}student.labels=difference reads "
            f"logit[1] - logit[0] as the score ({key}student.options={{labels: difference}} for a saved student)"
        )
    if found.labels:
        return (
            f"The classifier there has {len(found.labels)} labels, {some(found.labels)}, and a score is one number: "
            "choose a checkpoint with one label or two"
        )
    return (
        f"Choose a checkpoint that has them, a saved student ({instead(key, 'FOLDER')}), or train it first "
        "(limbeck train)"
    )
