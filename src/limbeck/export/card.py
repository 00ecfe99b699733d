"""The model card of an exported student: description, usage, results, training and limitations."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from limbeck.config import part_name
from limbeck.export.citation import citation
from limbeck.export.layout import Pipeline
from limbeck.export.origin import Origin, collection_name, hub_name, public, whole
from limbeck.export.summary import summary
from limbeck.labels import group as written_group
from limbeck.labels import metric
from limbeck.markup import code, escape

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


SAID = ("license", "language", "base_model", "datasets")
"""Keys that no run records, which the user can set on export."""


def card(
    pipeline: Pipeline, student: Mapping[str, Any], origin: Origin, name: str, said: Mapping[str, Any] | None = None
) -> str:
    """Return the card as Markdown, with the hub's front matter; it contains no paths of this machine.

    Parameters
    ----------
    pipeline
        The exported modules.
    student
        Configuration of the student.
    origin
        Record of its training.
    name
        Name of the model, by which the examples load it: ``NAME``, or ``OWNER/NAME`` on the hub.
    said
        ``license``, ``language``, ``base_model`` and ``datasets``, if the user has set them.

    Raises
    ------
    ValueError
        ``said`` has another key.
    """
    said = said or {}
    if unknown := set(said) - set(SAID):
        raise ValueError(f"card: {min(unknown)} is no key of the card; keys are {', '.join(SAID)}")
    head = yaml.safe_dump(_head(pipeline, origin, name, said), sort_keys=False, allow_unicode=True)
    parts = [
        f"---\n{head}---\n\n# {escape(name.rpartition('/')[2])}",
        summary(pipeline, student, origin),
        _how(pipeline, student, name),
        *_results(origin, _changed(student, origin.config.get("student") or {})),
        *_training(origin),
        *_limits(origin, said, student),
        "## Options\n\n"
        + _table(["option", "value"], [[k, code(whole(text(v)))] for k, v in student.items() if k != "_target_"]),
        citation(origin.config.get("loss") or {}),
    ]
    return "\n\n".join(parts) + "\n"


def _head(pipeline: Pipeline, origin: Origin, name: str, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the front matter, without keys whose value is not known."""
    purpose, tags = _TAGS[pipeline.library]
    collection = collection_name(origin)
    base = said.get("base_model") or hub_name((origin.config.get("backbone") or {}).get("model"))
    datasets = said.get("datasets") or ([collection] if collection not in ("", "synthetic") else [])
    head: dict[str, Any] = {
        "license": said.get("license"),
        "language": said.get("language"),
        "library_name": "sentence-transformers",
        "pipeline_tag": purpose,
        "base_model": base,
        "datasets": [datasets] if isinstance(datasets, str) else list(datasets),
        "tags": [*tags, "limbeck", *(f"loss:{term}" for term in origin.config.get("loss") or {})],
        "model-index": _index(origin, name),
    }
    return {key: value for key, value in head.items() if value}


def _index(origin: Origin, name: str) -> list[dict[str, Any]]:
    """Return the student's metrics in the hub's format: one entry per evaluation set."""
    result = origin.result
    groups = {(collection_name(origin), str(result.get("split", "test"))): result.get("rows") or []}
    for group, found in (result.get("sets") or {}).items():
        groups[group, "test"] = found.get("rows") or []
    results = []
    for (group, split), rows in groups.items():
        row = next((row for row in rows if row.get("key") == "student"), None)
        metrics = {key: value for key, value in (row or {}).items() if isinstance(value, float)}
        if metrics:
            results.append(
                {
                    "task": {"type": "information-retrieval", "name": "Information Retrieval"},
                    "dataset": {"name": written_group(group), "type": group, "split": split},
                    "metrics": [
                        {"type": key.replace("@", "_at_"), "name": metric(key), "value": round(value, 4)}
                        for key, value in metrics.items()
                    ],
                }
            )
    return [{"name": name.rpartition("/")[2], "results": results}] if results else []


def text(option: Any) -> str:
    """Return an option's value as in YAML and JSON."""
    return option if option and isinstance(option, str) else json.dumps(option, ensure_ascii=False, default=str)


def _how(pipeline: Pipeline, student: Mapping[str, Any], name: str) -> str:
    library = pipeline.library
    task = pipeline.modules[0].config.get("transformer_task")
    where = json.dumps(name, ensure_ascii=False)
    notes = []
    if library == "CrossEncoder":
        notes.append(
            f"sentence-transformers cuts a pair to {pipeline.modules[0].length} tokens, the longer text first; in "
            f"training a query was cut to {student['query_length']} tokens, a document to {student['document_length']}."
        )
    elif student["scale"] != 1:
        notes.append(f"Limbeck's scores are {student['scale']:g} times these; the order is the same.")
    alone = ""
    if task is not None:
        inside = f", subfolder={json.dumps(pipeline.transformer)}" if pipeline.transformer else ""
        alone = f"""

from transformers import {_AUTO[task]}  # the transformer alone
transformer = {_AUTO[task]}.from_pretrained({where}{inside})"""
    example = f"""\
```python
from sentence_transformers import {library}  # 6.2 or later
model = {library}({where})  # path of this folder, or the model's name on the hub
queries = ["which foods lower blood pressure"]
documents = ["Beetroot juice lowers blood pressure.", "A vaccine trains the immune system."]
{_USE[library]}{alone}
```"""
    return "\n\n".join(
        [
            "## Use",
            example,
            *notes,
            f"In Limbeck: {code(f'limbeck.load({where})')}, or {code(f'student=saved student.folder={name}')} on the "
            "command line.",
        ]
    )


def _limits(origin: Origin, said: Mapping[str, Any], student: Mapping[str, Any]) -> list[str]:
    """Return the section on limitations."""
    sets = [collection_name(origin), *(origin.result.get("sets") or {})] if origin.result else []
    lines = [
        f"Evaluated only on {', '.join(escape(written_group(each)) for each in sets if each)}; on other texts it may "
        "rank worse than the teacher, or than BM25."
        if any(sets)
        else "Not evaluated: there is no record of its training.",
        "It has learned its teacher's errors, and the biases of its teacher and its documents.",
        f"Queries are cut to {student.get('query_length')} tokens, documents to {student.get('document_length')}.",
    ]
    if collection_name(origin) == "synthetic":
        lines.append("The collection is synthetic: the model is an example, of no use for real texts.")
    if not said.get("license"):
        lines.append("No licence was given. The licences of backbone, teacher and collection may restrict its use.")
    return ["## Limitations\n\n" + "\n".join(f"- {line}" for line in lines)]


def _training(origin: Origin) -> list[str]:
    config, result, environment = origin.config, origin.result, origin.environment
    if not config:
        return []
    sampler = config.get("sampler") or {}
    rows = [
        ["collection", collection_name(origin)],
        ["fingerprint of the collection", result.get("collection_fingerprint")],
        ["teacher", _part(config.get("teacher"))],
        ["candidates", _part(config.get("candidates"))],
        ["loss", ", ".join(_part(term) for term in (config.get("loss") or {}).values())],
        ["learning rate", (result.get("training") or {}).get("learning_rate")],
        ["queries per batch", sampler.get("batch_size")],
        ["documents per query", _list(sampler)],
        ["precision", (result.get("training") or {}).get("precision")],
        ["backbone", _part(config.get("backbone"))],
        ["steps", (result.get("training") or {}).get("step")],
        ["seed", config.get("seed")],
        ["run", result.get("run_id")],
        ["commit of Limbeck", environment.get("commit")],
        ["device", environment.get("device")],
        ["versions", ", ".join(f"{name} {number}" for name, number in (environment.get("versions") or {}).items())],
    ]
    section = "## Training\n\n" + _table(
        ["setting", "value"], [[key, escape(public(text(value)))] for key, value in rows if value not in (None, "")]
    )
    command = environment.get("command")
    # Only a line that begins with four backticks ends such a block, and a command is one line.
    return [section, *([f"````sh\n{_command(command)}\n````"] if command else [])]


def _list(sampler: Mapping[str, Any]) -> str:
    """Return the composition of a training list: ``1 positive + 7 negatives``."""
    numbers = {part: sampler.get(f"{part}s") for part in ("positive", "negative")}
    parts = [f"{number} {part}{'s' * (number != 1)}" for part, number in numbers.items() if number is not None]
    return " + ".join(parts)


def _command(words: Any) -> str:
    """Return the command in one line, without options for paths and launchers."""
    first, *rest = map(str, words)
    kept = [public(word) for word in rest if not word.lstrip("+").startswith(("paths.", "paths=", "hydra", "launcher"))]
    return " ".join(shlex.join([Path(first).name, *kept]).split())


def _part(node: Any) -> str:
    """Return the name of a part with its simple options: ``ranker(model=…)``."""
    if not isinstance(node, Mapping):
        return "none"
    own = part_name(node)
    plain = {k: v for k, v in node.items() if not k.startswith("_") and isinstance(v, str | int | float)}
    inner = [_part(node[name]) for name in ("student", "backbone") if isinstance(node.get(name), Mapping)]
    arguments = ", ".join([*(f"{key}={text(value)}" for key, value in plain.items()), *inner])
    return f"{own}({arguments})" if arguments else own


def _changed(student: Mapping[str, Any], trained: Mapping[str, Any]) -> list[str]:
    """Return the student's options that differ from those in training, except a learned scale."""
    learned = {"scale"} if student.get("learn_scale") else set()
    return [
        code(f"{name}={text(value)}")
        for name, value in student.items()
        if name not in learned and trained.get(name, value) != value
    ]


def _results(origin: Origin, changed: list[str]) -> list[str]:
    result = origin.result
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
    place = f"{escape(written_group(collection_name(origin)))}, {escape(str(result['split']))}"
    title = f"## Results\n\n{place}, {rows[0]['queries']} judged queries."
    if changed:
        title += f" Measured before the export changed the student: it has {', '.join(changed)}."
    return [title, _table(["system", "ranks", *map(metric, metrics)], lines)]


def _table(head: list[str], rows: list[list[Any]]) -> str:
    def line(cells: list[Any]) -> str:
        return f"| {' | '.join(map(str, cells))} |"

    return "\n".join([line(head), line(["---"] * len(head)), *map(line, rows)])
