"""Build rankers, teachers and candidate sources from their configuration nodes."""

import logging
import os
import shlex
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NoReturn

import torch

from limbeck.artefacts import Artefacts, write_json
from limbeck.backbones import backbone as backbones
from limbeck.backbones import hub
from limbeck.backbones.backbone import Backbone
from limbeck.config import ConfigError, Node, build, fingerprint, part, part_name
from limbeck.data.candidates import Candidates
from limbeck.data.collection import Collection
from limbeck.data.embeddings import Encoder
from limbeck.data.opening import described
from limbeck.experiment.sharing import Sharing
from limbeck.experiment.teaching import OnDemand, Stored, Teaching
from limbeck.experiment.untrained import check_anew
from limbeck.launchers.devices import check_accelerator
from limbeck.scores.writer import Provenance
from limbeck.secrecy import masked
from limbeck.students import bare, context, longest, query_table
from limbeck.students.base import BiEncoder, Student
from limbeck.students.folders import MARK
from limbeck.students.tops import load_top
from limbeck.teachers.base import Lists, NamedTeacher
from limbeck.teachers.language_model.judge import Judge
from limbeck.teachers.ranker import RankerTeacher
from limbeck.teachers.rerank_api.teacher import ServerTeacher
from limbeck.teachers.store import StoreTeacher
from limbeck.text.cache import TokenCache
from limbeck.text.collate import Collator
from limbeck.text.tokenizer import TextTokenizer

log = logging.getLogger(__name__)

_MOST_SHARING = 8
"""Processes allowed per processor: each needs its own memory, and hundreds at once bring a machine down."""


def device(accelerator: str, devices: int = 1, *, key: str = "devices") -> torch.device:
    """Return the device for models outside training.

    Parameters
    ----------
    accelerator
        auto, cpu or gpu, as for Lightning.
    devices, key
        Number of processes; and the option that gives it, for messages.

    Raises
    ------
    ConfigError
        The accelerator is unknown; more GPUs are requested than are visible (a process without one would silently use
        the processor); or more processes are requested than the processors can share.
    """
    try:
        check_accelerator(accelerator)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if accelerator in ("gpu", "cuda") and not torch.cuda.is_available():
        raise ConfigError(f"accelerator is {accelerator}, but no GPU is visible here; choose auto or cpu")
    usable = torch.cuda.is_available() and accelerator in ("auto", "gpu", "cuda")
    if usable and devices > torch.cuda.device_count():
        raise ConfigError(f"{key} must be <= {torch.cuda.device_count()}, the GPUs that are visible; got {devices}")
    most = _MOST_SHARING * (os.cpu_count() or 1)
    if not usable and devices > most:
        raise ConfigError(f"{key} must be <= {most}, {_MOST_SHARING} for each processor of this machine; got {devices}")
    return torch.device("cuda" if usable else "cpu")


def collection(node: Node, artefacts: Artefacts) -> Collection:
    """Open a collection and log its size."""
    found = described(node).open(artefacts)
    log.info("%s", repr(found))  # counted before logging: log would swallow an error
    return found


def ranker(
    student: Node,
    backbone: Node,
    collection: Collection,
    artefacts: Artefacts,
    *,
    key: str = "",
    anew: bool = False,
    trains: bool | None = None,
) -> tuple[Student, Collator]:
    """Build a ranker, and the collator with its tokenizer and the collection's texts.

    Parameters
    ----------
    student, backbone
        Configuration nodes.
    collection, artefacts
        Texts (a backbone without a tokenizer gets one trained on them), and the cache.
    key
        Prefix of both keys in messages: ``teacher.`` for a teacher's student and backbone.
    anew
        Allow randomly initialised weights where the checkpoint has none: they are trained, or loaded, afterwards.
    trains
        Whether the ranker is trained; a decoder then gets adapters. None: the same as ``anew``.

    Raises
    ------
    ConfigError
        The checkpoint lacks weights and ``anew`` is False; the message names them.
    """

    def texts() -> Iterable[str]:
        for _, text in collection.iterate():
            yield text

    def folder(kind: str, inputs: Node, fill: Callable[[Path], object]) -> Path:
        return artefacts.folder(kind, {**inputs, "documents": collection.content("document")}, fill)

    model = backbone.get("model")
    if isinstance(model, str) and hub.is_name(model):  # folders are compared when the configuration is composed
        bare.check(part_name(student), student, model, backbone.get("revision"), key=key, trains=anew)
    trains = anew if trains is None else trains
    model, tokenizer = _model(student, backbone, texts, folder, key, anew=anew, trains=trains)
    cache = TokenCache(artefacts, tokenizer, collection)
    return model, Collator(tokenizer, model.style, collection.query_texts, collection.document_texts, cache)


def saved(student: Node, backbone: Node) -> tuple[Student, TextTokenizer]:
    """Build a saved student and its tokenizer from their folder, without a collection."""

    def nothing(*_: object) -> NoReturn:
        raise ConfigError("the tokenizer of this backbone is trained on a collection; give a saved student")

    return _model(student, backbone, nothing, nothing, "", anew=False, trains=False)


def _model(
    student: Node,
    backbone: Node,
    texts: Callable[[], Iterable[str]],
    folder: Callable[..., Path],
    key: str,
    *,
    anew: bool,
    trains: bool,
) -> tuple[Student, TextTokenizer]:
    context.check(student, backbone, key)
    source: Backbone = build(backbone, key=f"{key}backbone")
    try:
        tokenizer = source.tokenizer(texts, folder)
        model: Student = build(student, lambda task: source.model(tokenizer, task, trains=trains), key=f"{key}student")
        lacking = load_top(model, source)
        if source.path is None or query_table.NAME in lacking.anew:
            query_table.start(model, tokenizer)
        check_anew(model, source, lacking.without(query_table.NAME), key, anew)
    except ConfigError as error:
        keys = ("model", "layers", "lora", "gradient_checkpointing", "bidirectional", "end_token", "width")
        own = str(error).startswith(keys)
        raise ConfigError(f"{key}backbone.{error}" if own else str(error)) from error
    longest.check(model, tokenizer, key)
    return model, tokenizer


def save(
    student: Student, tokenizer: TextTokenizer, folder: Path, node: Node, run_id: str, space: Node | None = None
) -> None:
    """Save a student as a Hugging Face folder with ``limbeck.json``, which ``student=saved`` loads.

    Parameters
    ----------
    student, tokenizer
        As ``ranker`` returns them; the tokenizer is the collator's.
    folder
        Created, or overwritten.
    node, run_id
        The student's configuration node, and the run that trained it.
    space
        The teacher's vector space its queries were trained into (``limbeck.experiment.spaces``); None: its own.
    """
    backbones.save(student, tokenizer, folder)
    write_json(folder / MARK, {"student": node, "run_id": run_id, **({} if space is None else {"space": space})})


def teaching(
    node: Node, collection: Collection, artefacts: Artefacts, device: torch.device, sharing: Sharing | None = None
) -> Teaching:
    """Build a teacher, and everything its scores depend on.

    Parameters
    ----------
    node
        Configuration node.
    collection, artefacts
        The texts to score, and the cache of the scores.
    device
        Device of the teacher's model.
    sharing
        How candidates to re-rank are shared among processes; None scores them in this process.
    """
    own = {name: value for name, value in node.items() if name not in ("student", "backbone", "of")}
    if "of" in node:
        return build(own, teaching(node["of"], collection, artefacts, device, sharing), collection, key="teacher")
    if node.get("student") is not None:
        return _teaching_model(node, own, collection, artefacts, device, _spread(node, sharing))
    given = {
        "folder": collection.folder or Path("no-such-folder"),
        "artefacts": artefacts,
        "query_texts": collection.query_texts,
        "document_texts": collection.document_texts,
        "device": device,
    }
    needs = part(own, key="teacher").given
    teacher: StoreTeacher | Judge | ServerTeacher | NamedTeacher = build(
        own, *(given[name] for name in needs), key="teacher"
    )
    if isinstance(teacher, StoreTeacher):
        return Stored(teacher, artefacts, collection)
    documents = collection.documents_fingerprint
    if isinstance(teacher, Judge | ServerTeacher):
        whose = teacher.provenance(documents, _command())
        spread = _spread(node, sharing) if isinstance(teacher, Judge) else None
        return OnDemand(teacher, teacher.identity(), whose, collection, artefacts, given=teacher.store, spread=spread)
    whose = Provenance(teacher.name, teacher.number, revision=fingerprint(own), collection=documents)
    return OnDemand(teacher, teacher.identity(), whose, collection, artefacts)


def _spread(node: Node, sharing: Sharing | None) -> Callable[[Lists], None] | None:
    return None if sharing is None or sharing.devices == 1 else partial(sharing.score, node)


def _command() -> str:
    return shlex.join(["limbeck", *masked(sys.argv[1:])])


def _teaching_model(
    node: Node,
    own: Node,
    collection: Collection,
    artefacts: Artefacts,
    device: torch.device,
    spread: Callable[[Lists], None] | None,
) -> Teaching:
    model, collator = ranker(node["student"], node["backbone"], collection, artefacts, key="teacher.")
    weights = model.checksum()
    teacher: RankerTeacher = build(own, model.to(device), collator, key="teacher")
    identity = {name: value for name, value in node.items() if name != "store"} | {"weights": weights}  # same scores
    whose = Provenance(
        _model_name(node["backbone"]),
        model.number,
        model.scale if isinstance(model, BiEncoder) else None,
        revision=fingerprint({**identity, "bf16": None}),
        max_length=f"query {model.style.query_length}, document {model.style.document_length} tokens",
        dtype="bfloat16" if teacher.bf16 else "float32",
        collection=collection.documents_fingerprint,
        command=_command(),
    )
    searcher = (model, collator) if isinstance(model, BiEncoder) else None
    return OnDemand(
        teacher, identity, whose, collection, artefacts, searcher=searcher, given=teacher.store, spread=spread
    )


def _model_name(backbone: Node) -> str:
    """Return the name of the model, or the kind of backbone with its number of layers."""
    name = str(backbone.get("model") or part_name(backbone))
    return f"{name}, {backbone['layers']} layers" if backbone.get("layers") else name


def candidates(node: Node, device: torch.device, *, key: str = "candidates") -> Candidates:
    """Build a source of candidates with its parts and models; models are loaded on first use.

    Parameters
    ----------
    node
        Configuration node.
    device
        Device of models that search.
    key
        The node's key, for messages.
    """
    own = {name: value for name, value in node.items() if name not in ("parts", "student", "backbone")}
    if "parts" in node:
        parts = dict(node["parts"] or {})
        return build(own, {n: candidates(p, device, key=f"{key}.parts.{n}") for n, p in parts.items()}, key=key)
    if "student" not in node:
        return build(own, key=key)
    if not part(node["student"], key=f"{key}.student").separable:
        raise ConfigError(f"{key}.student must encode queries and documents apart to search (a dense student does)")
    return build(own, partial(_encoder, node["student"], node["backbone"], key), device, key=key)


def _encoder(student: Node, backbone: Node, key: str, collection: Collection, artefacts: Artefacts) -> Encoder:
    model, collator = ranker(student, backbone, collection, artefacts, key=f"{key}.")
    return Encoder(model, collator, {"student": student, "backbone": backbone, "weights": model.checksum()})
