"""Scores of lists of documents by sentence-transformers models, with gradients, for training."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from sentence_transformers import CrossEncoder, MultiVectorEncoder, SentenceTransformer, SparseEncoder
from sentence_transformers.base.losses.merged_forward import embed_columns, embed_columns_padded
from sentence_transformers.base.modules import Dense
from sentence_transformers.util import batch_to_device
from torch import Tensor, nn

from limbeck.losses.lists import at_least_float32

Model = SentenceTransformer | SparseEncoder | MultiVectorEncoder | CrossEncoder

log = logging.getLogger(__name__)


def check(model: Any) -> None:
    """Check that losses can read a model's scores; warn if the predictions of a cross-encoder may tie.

    Raises
    ------
    ValueError
        The model is none of the library's four kinds, or a cross-encoder with several labels, or with an activation
        after its last layer (losses read raw logits).
    """
    if not isinstance(model, Model):
        raise ValueError(
            "model must be a SentenceTransformer, SparseEncoder, MultiVectorEncoder or CrossEncoder, "
            f"got {type(model).__name__}"
        )
    if not isinstance(model, CrossEncoder):
        return
    if model.num_labels != 1:
        raise ValueError(f"model must be a CrossEncoder with num_labels=1, one score per pair, got {model.num_labels}")
    last = list(model.children())[-1]
    if isinstance(last, Dense) and not isinstance(last.activation_function, nn.Identity):
        raise ValueError(
            f"model ends with {type(last.activation_function).__name__}: losses read raw logits; give its last Dense "
            "module activation_function=torch.nn.Identity()"
        )
    if isinstance(model.activation_fn, nn.Sigmoid):
        log.warning(
            "model.predict() applies a sigmoid, after which scores above about 17 tie; the loss reads raw logits. Set "
            "model.activation_fn = torch.nn.Identity() to predict the scores that are trained"
        )


def of_embeddings(model: Any, queries: Tensor, documents: Sequence[Tensor], **masks: Any) -> Tensor:
    """Return (B, L) similarities by the model's similarity function, in float32 or better, also under autocast.

    Parameters
    ----------
    model
        The model, for its similarity function.
    queries
        Embeddings of B queries.
    documents
        L embeddings of B documents each: the first document of each query, the second, ….
    masks
        For multi-vector models: ``a_mask``, the mask of the queries, and ``b_mask``, L masks of documents.
    """
    each_mask = masks.pop("b_mask", None)
    columns = []
    with torch.autocast(queries.device.type, enabled=False):
        for place, document in enumerate(documents):
            more = {} if each_mask is None else {"b_mask": each_mask[place], **masks}
            columns.append(model.similarity_pairwise(at_least_float32(queries), at_least_float32(document), **more))
    return torch.stack(columns, dim=1)


def of_columns(model: Any, network: nn.Module, columns: Sequence[dict[str, Any]]) -> Tensor:
    """Return the (B, L) scores of a bi-encoder.

    Parameters
    ----------
    model
        The model.
    network
        The model, or the trainer's wrapper of it.
    columns
        Tokens of the queries, then of the first documents, the second documents, ….
    """
    if not isinstance(model, MultiVectorEncoder):
        queries, *documents = embed_columns(network, columns)
        return of_embeddings(model, queries, documents)
    query, *others = [dict(each) for each in columns]
    found = network(query, task=query.get("task", "query"))
    documents, masks = embed_columns_padded(network, others, task_default="document")
    queries_mask = found["attention_mask"].bool()
    return of_embeddings(model, found["token_embeddings"], documents, a_mask=queries_mask, b_mask=masks)


def of_pairs(network: Any, columns: Sequence[Sequence[Any]], **reading: Any) -> tuple[Tensor, list[int]]:
    """Return the (B, L) raw logits of a cross-encoder, 0 for padding, and the number of documents of each query.

    Parameters
    ----------
    network
        The cross-encoder, or the trainer's wrapper of it.
    columns
        The queries, then one column of lists of documents, or one column per document.
    reading
        ``prompt`` and ``task``, options of the model's preprocessing.
    """
    queries, *others = columns
    nested = len(others) == 1 and isinstance(others[0][0], list | tuple)
    documents = list(others[0]) if nested else list(zip(*others, strict=True))
    pairs = [(query, text) for query, texts in zip(queries, documents, strict=True) for text in texts]
    if not all(isinstance(text, str) for _, text in pairs):
        raise ValueError(
            f"the batch has {len(columns)} columns besides its label, and one of them does not hold texts: "
            "ListColumns(output_format='lists') puts scores, labels and ranks into the label column"
        )
    tokens = batch_to_device(network.preprocess(pairs, **reading), network.device)
    logits = at_least_float32(network(tokens)["scores"].view(-1))
    lengths = [len(texts) for texts in documents]
    lists = nn.utils.rnn.pad_sequence(list(logits.split(lengths)), batch_first=True)
    return lists, lengths
