"""The model card of an exported student: what it is, what it learned from, how good it is, how it is loaded."""

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, part_name
from limbeck.export.layout import Pipeline
from limbeck.markup import code, escape
from limbeck.students.folders import space_of
from limbeck.version import __version__

_USE = {
    "SentenceTransformer": "scores = model.similarity(model.encode_query(queries), model.encode_document(documents))",
    "SparseEncoder": "scores = model.similarity(model.encode_query(queries), model.encode_document(documents))",
    "MultiVectorEncoder": "scores = model.similarity(model.encode_query(queries), model.encode_document(documents))",
    "CrossEncoder": "scores = model.predict([(query, document) for query in queries for document in documents])",
}
_AUTO = {
    "feature-extraction": "AutoModel",
    "fill-mask": "AutoModelForMaskedLM",
    "sequence-classification": "AutoModelForSequenceClassification",
}
_TAGS = {
    "SentenceTransformer": ("sentence-similarity", ["sentence-transformers", "dense"]),
    "SparseEncoder": ("feature-extraction", ["sentence-transformers", "sparse-encoder", "splade"]),
    "MultiVectorEncoder": ("sentence-similarity", ["sentence-transformers", "multi-vector", "colbert"]),
    "CrossEncoder": ("text-ranking", ["sentence-transformers", "cross-encoder", "reranker"]),
}


@dataclass(frozen=True)
class Origin:
    """What a run folder records of the training; all empty where there is no run."""

    config: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] | None = None
    """The space of another encoder that its queries were brought into, as ``limbeck.json`` of its model says."""


def origin(folder: Path) -> Origin:
    """Read the run that a model belongs to: ``folder`` or, for its ``model``, the folder above.

    Raises
    ------
    ConfigError
        A file of the run is broken.
    """
    from omegaconf import OmegaConf
    from yaml import YAMLError

    run = folder.absolute()
    run = run if (run / "config.yaml").is_file() else run.parent
    space = space_of(folder)
    if not (run / "config.yaml").is_file():
        return Origin(space=space)
    try:
        config: Any = OmegaConf.to_container(OmegaConf.load(run / "config.yaml"))
    except (OSError, ValueError, YAMLError) as error:
        raise ConfigError(f"run: {run / 'config.yaml'} cannot be read: {error}; run its training again") from error
    files = [run / name for name in ("result.json", "env.json")]
    try:
        result, environment = (json.loads(file.read_text("utf-8")) if file.is_file() else {} for file in files)
    except ValueError as error:
        raise ConfigError(f"run: a file of {str(run)!r} is broken: {error}; run its training again") from error
    return Origin(config, result, environment, space)


def card(pipeline: Pipeline, student: Mapping[str, Any], origin: Origin, name: str) -> str:
    """Return the card as Markdown with the front matter of the hub.

    Parameters
    ----------
    pipeline
        What is exported.
    student
        Its configuration node.
    origin
        Its training.
    name
        Of the model.
    """
    purpose, tags = _TAGS[pipeline.library]
    head = ["---", "library_name: sentence-transformers", f"pipeline_tag: {purpose}", "tags:"]
    head += [f"- {tag}" for tag in [*tags, "limbeck"]] + ["---", ""]
    kind = part_name(student)
    parts = [
        "\n".join(head) + f"\n# {escape(name)}",
        f"A {kind} ranker, distilled with limbeck {__version__}.",
        _how(pipeline, student),
        *_training(origin),
        *_results(origin.result, _changed(student, origin.config.get("student") or {})),
        "## Options\n\n"
        + _table(["option", "value"], [[k, code(str(v))] for k, v in student.items() if k != "_target_"]),
    ]
    return "\n\n".join(parts) + "\n"


def _how(pipeline: Pipeline, student: Mapping[str, Any]) -> str:
    library = pipeline.library
    task = pipeline.modules[0].config.get("transformer_task")
    where = f"FOLDER/{pipeline.transformer}".rstrip("/")
    notes = []
    if library == "CrossEncoder":
        notes.append(
            f"Here a pair is cut to {pipeline.modules[0].length} tokens, the longer text first; in training a query "
            f"was cut to {student['query_length']} and a document to {student['document_length']} tokens."
        )
    elif student["scale"] != 1:
        notes.append(f"In limbeck a score is {student['scale']:g} times this one; the order is the same.")
    alone = ""
    if task is not None:
        alone = f"""

from transformers import {_AUTO[task]}  # the transformer alone
transformer = {_AUTO[task]}.from_pretrained("{where}")"""
    code = f"""\
```python
from sentence_transformers import {library}  # 6.2 or later
model = {library}("FOLDER")
{_USE[library]}{alone}
```"""
    return "\n\n".join(["## Use", code, *notes, "In limbeck: `student=saved student.folder=FOLDER`."])


def _training(origin: Origin) -> list[str]:
    config, result, environment = origin.config, origin.result, origin.environment
    if not config:
        return []
    rows = [
        ["collection", result.get("collection") or config["data"].get("collection")],
        ["fingerprint of the collection", result.get("collection_fingerprint")],
        ["teacher", _part(config.get("teacher"))],
        ["candidates", _part(config.get("candidates"))],
        ["loss", ", ".join(_part(term) for term in (config.get("loss") or {}).values())],
        ["backbone", _part(config.get("backbone"))],
        ["steps", (result.get("training") or {}).get("step")],
        ["seed", config.get("seed")],
        ["run", result.get("run_id")],
        ["commit", environment.get("commit")],
        ["device", environment.get("device")],
        ["versions", ", ".join(f"{name} {number}" for name, number in (environment.get("versions") or {}).items())],
    ]
    section = "## Training\n\n" + _table(
        ["", ""], [[key, escape(str(value))] for key, value in rows if value not in (None, "")]
    )
    command = environment.get("command")
    # Four backticks end a block only where four begin a line, and a command is one line.
    return [section, *([f"````sh\n{' '.join(shlex.join(map(str, command)).split())}\n````"] if command else [])]


def _part(node: Any) -> str:
    """Return the name of a part and those of its options that say which one it is."""
    if not isinstance(node, Mapping):
        return "none"
    own = part_name(node)
    plain = {k: v for k, v in node.items() if not k.startswith("_") and isinstance(v, str | int | float)}
    inner = [_part(node[name]) for name in ("student", "backbone") if isinstance(node.get(name), Mapping)]
    arguments = ", ".join([*(f"{key}={value}" for key, value in plain.items()), *inner])
    return f"{own}({arguments})" if arguments else own


def _changed(student: Mapping[str, Any], trained: Mapping[str, Any]) -> list[str]:
    """Return the options that the export has not as they were in training; a learned scale is no change."""
    learned = {"scale"} if student.get("learn_scale") else set()
    return [
        code(f"{name}={value}")
        for name, value in student.items()
        if name not in learned and trained.get(name, value) != value
    ]


def _results(result: Mapping[str, Any], changed: list[str]) -> list[str]:
    rows = result.get("rows") or []
    if not rows:
        return []
    metrics = list(dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, float)))
    lines = [
        [
            escape(row["system"]),
            escape(row["candidates"]),
            *("" if row.get(each) is None else f"{row[each]:.4f}" for each in metrics),
        ]
        for row in rows
    ]
    place = ", ".join(escape(str(result[each])) for each in ("collection", "split"))
    title = f"## Results\n\n{place}, {rows[0]['queries']} judged queries."
    if changed:
        title += f" Measured before the export changed the student: it has {', '.join(changed)}."
    return [title, _table(["system", "ranks", *metrics], lines)]


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def line(cells: list[Any]) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
