"""Refuse rankers with randomly initialised weights where nothing trains them."""

from limbeck.backbones.backbone import Backbone
from limbeck.config import ConfigError
from limbeck.students.anew import Anew, refuse_frozen, refuse_untrained
from limbeck.students.base import Student
from limbeck.students.tops import Lacking


def check_anew(model: Student, source: Backbone, top: Lacking, key: str, anew: bool) -> None:
    """Raise a ``ConfigError`` if weights are randomly initialised and nothing trains them."""
    if source.path is None:
        if not (anew or source.untrained):
            raise ConfigError(
                f"{key}backbone: all its weights start at random, and nothing trains them here: the scores would mean "
                f"nothing. Take a trained student ({key.rstrip('.') or 'student'}=saved with its folder) or checkpoint "
                f"({key}backbone=pretrained); to try the command out, {key}backbone.untrained=true"
            )
        return
    names = [*(f"backbone.{name}" for name in source.anew), *top.anew]
    if anew:
        refuse_frozen(model, Anew(names, source.path))
    else:
        refuse_untrained(Anew([*names, *top.copied], source.path, source.labels), key)
