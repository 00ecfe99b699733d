"""A student in its teacher's vector space: the teacher's vectors to learn from, and search in an index of the teacher.

An index of dense vectors can be searched by any student that was trained to map queries to where the index's encoder
maps them: by a loss on embeddings (``embedding_mse``, ``embedding_cosine``) with that encoder as teacher. A saved
student records the space in ``limbeck.json`` under ``space``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from limbeck.config import Config, ConfigError, Node
from limbeck.students.folders import space_of
from limbeck.students.saved import Saved

if TYPE_CHECKING:
    from limbeck.artefacts import Artefacts
    from limbeck.data.collection import Collection
    from limbeck.data.pool import Pool
    from limbeck.data.targets import Targets
    from limbeck.evaluation.settings import Evaluation
    from limbeck.experiment.engine import Engine
    from limbeck.experiment.teaching import OnDemand, Teaching
    from limbeck.search.shards import Store
    from limbeck.students.base import Student
    from limbeck.students.dense import Dense
    from limbeck.training.objective import Objective
    from limbeck.types import Run

_REMEDY = "train it with a loss on embeddings, the encoder of the index as teacher: loss=[ckl,embedding_mse]"

_OTHER_DISK = "set paths.cache to a folder on another disk, or leave out the losses on embeddings"


def check_fit(objective: "Objective", student: "Student", teaching: "Teaching | None") -> None:
    """Refuse a student whose vectors cannot be compared with its teacher's, if a loss compares them.

    Raises
    ------
    ConfigError
        The vectors differ in width or in norm, or the student also learns smaller sizes.
    """
    from limbeck.losses.embeddings import EmbeddingLoss

    terms = {name: loss for name, loss in objective.terms.items() if isinstance(loss, EmbeddingLoss)}
    if not terms:
        return
    ours, theirs = cast("Dense", student), cast("Dense", _searcher(teaching)[0])
    name = next(iter(terms))
    if ours.width != theirs.width:
        raise ConfigError(
            f"loss.{name}: the student's vectors have {ours.width} components, the teacher's {theirs.width}: "
            f"student.projection={theirs.width} puts a linear layer over the student, learned and saved with it"
        )
    if ours.matryoshka:
        raise ConfigError(
            f"loss.{name} compares whole vectors with the teacher's, which has none of the smaller sizes of "
            "student.matryoshka: leave one of the two out"
        )
    lengths = next((name for name, loss in terms.items() if loss.compares_lengths), None)
    if lengths is not None and ours.normalise and not theirs.normalise:
        raise ConfigError(
            f"loss.{lengths}: the student's vectors have length 1 (student.similarity=cosine), the teacher's have not: "
            "take loss=embedding_cosine, or student.similarity=dot"
        )


def targets(
    objective: "Objective",
    teaching: "Teaching | None",
    node: Node,
    pool: "Pool",
    collection: "Collection",
    artefacts: "Artefacts",
) -> "Targets | None":
    """Return the teacher's vectors of training queries and documents, encoded once; None if no loss reads them.

    Parameters
    ----------
    objective
        The losses.
    teaching
        The teacher.
    node
        The teacher's configuration node.
    pool
        Pool with the training queries and documents.
    collection
        Their texts.
    artefacts
        The cache of the vectors.
    """
    if not objective.reads("teacher_vectors"):
        return None
    from limbeck.data.embeddings import Encoder, Vectors, of_documents, of_queries
    from limbeck.data.targets import Targets

    model, collator = _searcher(teaching)
    assert teaching is not None, "it has a searcher"
    identity = {"student": node["student"], "backbone": node["backbone"], "weights": teaching.identity["weights"]}
    encoder, bf16, name = Encoder(model, collator, identity), bool(node.get("bf16")), "teacher's"
    ids = sorted(pool.query_ids)
    queries = of_queries(encoder, ids, collection, artefacts, bf16=bf16, name=name)
    documents = of_documents(encoder, collection, artefacts, bf16=bf16, dtype="float32", name=name, instead=_OTHER_DISK)
    return Targets((ids, Vectors(queries)), (collection.document_ids, Vectors(documents)))


def _searcher(teaching: "Teaching | None") -> tuple[Any, Any]:
    found = cast("OnDemand", teaching).searcher
    assert found is not None, "the objective let a teacher without vectors pass"
    return found


def space(objective: "Objective", teaching: "Teaching | None") -> Config | None:
    """Return the space that a student's queries are trained into, for the record; None if no loss does so."""
    from limbeck.losses.embeddings import EmbeddingLoss

    ties = [name for name, loss in objective.terms.items() if isinstance(loss, EmbeddingLoss) and loss.ties_queries]
    if not ties or teaching is None:
        return None
    return {"weights": teaching.identity["weights"], "teacher": teaching.meta["teacher"], "losses": ties}


def check_tied(folder: Path, student: "Student", store: "Store", key: str) -> None:
    """Refuse a student whose query vectors do not belong to the space of an index.

    Parameters
    ----------
    folder
        Folder of the student.
    student
        The student.
    store
        The index.
    key
        The option that names the folder, for messages.

    Raises
    ------
    ConfigError
        The index holds no dense vectors, or vectors of another width; or the student was not trained into their space.
    """
    if "vectors" not in student.fields or store.kind != "dense":
        raise ConfigError(
            f"{key}: queries of one vector are compared with documents of one vector: the student in {folder} or the "
            f"index {store.path} has others; both must be dense"
        )
    width, own = store.shard(0).rows.width, cast("Dense", student).width
    if width != own:
        raise ConfigError(
            f"{key}: the queries of {folder} have {own} components, the documents of {store.path} {width}: it was not "
            f"trained for this index; {_REMEDY}"
        )
    tied = space_of(folder)
    if tied is None:
        raise ConfigError(
            f"{key}: the student in {folder} was not trained to share another encoder's vector space: its scores of "
            f"the documents of {store.path} would mean nothing; {_REMEDY}"
        )
    if tied["weights"] != store.identity["weights"]:
        raise ConfigError(
            f"{key}: the student in {folder} was brought into the space of {tied['teacher']}, and {store.path} was "
            "built with other weights; index the collection with that teacher"
        )


def query_encoder_nodes(folder: Path, key: str) -> Config:
    """Return the configuration nodes of the student in a folder that should encode queries."""
    try:
        nodes = Saved(folder=str(folder)).nodes({})
    except ConfigError as error:
        raise ConfigError(f"{key}{str(error).removeprefix('student.folder')}") from None
    return {"student": nodes.student, "backbone": nodes.backbone}


def searching(
    store: "Store", collection: "Collection", folder: Path, student: "Student", evaluation: "Evaluation"
) -> "Callable[[Engine, Sequence[str]], Run]":
    """Return the function by which a student searches an index of its teacher, exactly, with its own query vectors.

    Parameters
    ----------
    store
        The index.
    collection
        The collection with the queries.
    folder
        Folder of the student.
    student
        The student.
    evaluation
        Depth and precision.

    Raises
    ------
    ConfigError
        The index holds other documents, or ``check_tied`` refuses the student.
    """
    from limbeck.evaluation.ranking import without_own
    from limbeck.search.exact import Exact
    from limbeck.search.ranking import search

    if store.identity["documents"] != collection.content("document"):
        raise ConfigError(f"index: {store.path} holds other documents than {collection.name}; give the index of these")
    check_tied(folder, student, store, "index")
    depth, drops = evaluation.search_depth, collection.drop_self

    def find(engine: "Engine", queries: Sequence[str]) -> "Run":
        ranker, encoded = engine.encoded(queries, bf16=evaluation.bf16)
        found = search(Exact(), ranker, queries, encoded, store, depth + drops)
        return without_own(found, depth) if drops else found

    return find
