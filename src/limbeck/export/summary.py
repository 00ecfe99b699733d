"""The first sentence of a model card: kind of student, teacher, collection and losses."""

from collections.abc import Mapping
from typing import Any

from limbeck.backbones.decoders import is_decoder
from limbeck.backbones.tables import MODULE
from limbeck.config import part_name
from limbeck.export.layout import Pipeline
from limbeck.export.origin import Origin, collection_name
from limbeck.labels import group, value
from limbeck.markup import code, escape
from limbeck.version import __version__


def summary(pipeline: Pipeline, student: Mapping[str, Any], origin: Origin) -> str:
    """Return the sentence, without parts that the run does not record."""
    kind = escape(value("student", part_name(student)))
    return f"A {kind} ranker{_backbone(pipeline)}, distilled{_source(origin)} with Limbeck {__version__}."


def _backbone(pipeline: Pipeline) -> str:
    """Return a phrase about the backbone, if it is static or a decoder."""
    first = pipeline.modules[0]
    if first.type == MODULE:
        return " of averaged static token vectors"
    config = getattr(first.model, "config", None)
    return f" over a decoder ({config.model_type})" if config is not None and is_decoder(config) else ""


def _source(origin: Origin) -> str:
    """Return a phrase about teacher, collection and losses."""
    config, collection = origin.config, collection_name(origin)
    teacher = config.get("teacher")
    losses = " + ".join(value("loss", term) for term in config.get("loss") or {})
    named = "a synthetic collection" if collection == "synthetic" else escape(group(collection))
    parts = [
        f" from the teacher {code(part_name(teacher))}" if isinstance(teacher, Mapping) else "",
        f" on {named}" if collection else "",
        f" by {escape(losses)}" if losses else "",
    ]
    return "".join(parts)
