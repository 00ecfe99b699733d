"""Shared or separate transformers for queries and documents."""

import copy
from typing import TYPE_CHECKING

from limbeck.text.collate import Role

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def second_tower(documents: "PreTrainedModel", towers: str) -> "PreTrainedModel | None":
    """Return a copy of the documents' transformer for the queries, or None if they share it.

    Raises
    ------
    ValueError
        ``towers`` is neither ``shared`` nor ``separate``.
    """
    if towers not in ("shared", "separate"):
        raise ValueError(f"towers must be shared or separate, got {towers!r}")
    return copy.deepcopy(documents) if towers == "separate" else None


def tower(documents: "PreTrainedModel", queries: "PreTrainedModel | None", role: Role) -> "PreTrainedModel":
    """Return the transformer for a role."""
    return queries if role == "query" and queries is not None else documents
