"""Weights that a checkpoint does not give: they may start anew where something trains them, and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from limbeck.backbones.adapters import plain_name
from limbeck.backbones.sources import some
from limbeck.config import ConfigError
from limbeck.students.folders import instead


@dataclass(frozen=True)
class Anew:
    """What starts anew in a student."""

    names: Sequence[str]
    """Parameters, by their names in the student without adapters."""
    path: str
    """Where the rest comes from."""
    labels: Sequence[str] = ()
    """Of the checkpoint's classifier, where it has other than one."""


def refuse_untrained(found: Anew, key: str) -> None:
    """Raise an error that names the weights that start anew: for a student that nothing trains.

    Parameters
    ----------
    found
        What starts anew.
    key
        Prefix of the student's key, as ``teacher.``.

    Raises
    ------
    ConfigError
        There are some.
    """
    if found.names:
        raise ConfigError(
            f"model: {found.path!r} does not give {some(found.names)}, which would start at random, and nothing trains "
            f"them here: the scores would mean nothing. {_remedy(found, key)}"
        )


def refuse_frozen(student: nn.Module, found: Anew) -> None:
    """Raise an error that names the weights that start anew and are frozen: for a student in training.

    Raises
    ------
    ConfigError
        There are some.
    """
    trains = {
        plain_name(name) for name, value in student.named_parameters(remove_duplicate=False) if value.requires_grad
    }
    frozen = [name for name in found.names if name not in trains]
    if frozen:
        raise ConfigError(
            f"model: {found.path!r} does not give {some(frozen)}, which would start at random and are frozen; take a "
            "checkpoint that has them, or train them"
        )


def _remedy(found: Anew, key: str) -> str:
    if len(found.labels) == 2:
        return (
            f"The classifier there has two labels, {' and '.join(found.labels)}: {key}student.labels=difference reads "
            f"logit[1] - logit[0] as the score ({key}student.options={{labels: difference}} of a saved student)"
        )
    if found.labels:
        return (
            f"The classifier there has {len(found.labels)} labels, {some(found.labels)}, and a score is one number: "
            "take a checkpoint with one label, or with two"
        )
    return (
        f"Take a checkpoint that has them, a student in a folder ({instead(key, 'FOLDER')}), or train it first "
        "(limbeck train)"
    )
