"""Any registered loss on scores as a loss for sentence-transformers' trainers."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Literal, cast, get_args

import torch
from sentence_transformers import CrossEncoder
from torch import Tensor, nn

from limbeck.config import entries, part
from limbeck.integrations.sentence_transformers import scores as scoring
from limbeck.integrations.sentence_transformers.targets import Targets, read
from limbeck.losses.base import Loss
from limbeck.losses.ranks import shared_ranks
from limbeck.losses.term import Term
from limbeck.types import Batch, StudentOutput, Tokens

Ranks = Literal["data", "student"]

_INSTEAD = {
    "embeddings": "for in-batch negatives use the library's MultipleNegativesRankingLoss, or train with limbeck",
    "term_weights": "wrap this loss: SpladeLoss(model, loss=DistillationLoss(model, …), document_regularizer_weight=…)",
}


class DistillationLoss(nn.Module):
    r"""Loss for a sentence-transformers model: the mean over queries of any loss on scores.

    The score of a bi-encoder is ``scale`` times its similarity (``model.similarity_fn_name``), computed in float32 or
    better, also under autocast. The score of a cross-encoder is ``scale`` times its raw logit, without
    ``model.activation_fn``.

    Parameters
    ----------
    model
        ``SentenceTransformer``, ``SparseEncoder``, ``MultiVectorEncoder``, or ``CrossEncoder`` with one label.
    loss
        Name of a registered loss, or a function decorated with ``on_scores``.
    ranks
        Source of the ranks π, for losses that read them. ``data``: the column of ranks. ``student``: the ranks by the
        model's current scores, without gradient; tied documents share their mean rank.
    positives
        Number of positives at the start of each list, if the data have no grades; 1 is the library's order (query,
        positive, negative, …).
    scale
        Factor of the similarity. Cosines lie in [-1, 1], so a listwise loss needs a scale of about 10 to 50 for them.
        It does not change rankings.
    options
        Options of the loss, such as ``gamma=5``.

    Raises
    ------
    ValueError
        The loss is unknown or reads more than scores; an option is unknown or out of range; or the model is not
        supported. When called: scores, ranks or labels that the loss reads are missing, or their number differs from
        that of the documents.

    Notes
    -----
    A batch has texts in the library's formats, and a label column: one number per document (the teacher's scores, or
    grades if the loss reads no teacher), or all three kinds of numbers as packed by ``ListColumns``. See
    docs/howto/integrations.md.

    Examples
    --------
    ```python
    model = SentenceTransformer("sentence-transformers/all-MiniLM-L6-v2")
    loss = DistillationLoss(model, "ckl", gamma=5, scale=20)
    SentenceTransformerTrainer(model=model, train_dataset=data, loss=loss).train()
    ```
    """

    def __init__(
        self,
        model: scoring.Model,
        loss: str | Callable[..., Tensor] = "ckl",
        *,
        ranks: Ranks = "data",
        positives: int = 1,
        scale: float = 1.0,
        **options: Any,
    ) -> None:
        super().__init__()
        scoring.check(model)
        if ranks not in get_args(Ranks):
            raise ValueError(f"ranks must be data or student, got {ranks!r}")
        if positives < 1:
            raise ValueError(f"positives must be >= 1, got {positives}")
        if not scale > 0:
            raise ValueError(f"scale must be > 0, got {scale}")
        self.name = loss if isinstance(loss, str) else loss.__name__
        self.term = _term(loss, options)
        for field in self.term.needs:
            if field in _INSTEAD:
                raise ValueError(f"{self.name} reads {field}, not only scores; {_INSTEAD[field]}")
        self.model = model
        self._own = [model]  # in a list, as the trainer may replace ``model`` by a wrapper without similarity
        self.ranks, self.positives, self.scale, self._options = ranks, positives, scale, options

    def forward(
        self,
        inputs: Sequence[Any],
        labels: Tensor | Sequence[Tensor] | None = None,
        prompt: str | None = None,
        task: str | None = None,
    ) -> Tensor:
        """Return the mean of the loss over the queries of a batch.

        Parameters
        ----------
        inputs
            Columns of the batch without the label column: tokens for bi-encoders, texts for cross-encoders.
        labels
            The label column; None if the data have none.
        prompt, task
            Options of a cross-encoder's preprocessing.
        """
        targets = self._read(labels)
        if isinstance(self._own[0], CrossEncoder):
            found, lengths = scoring.of_pairs(self.model, inputs, prompt=prompt, task=task)
            return self._value(found, lengths, targets)
        found = scoring.of_columns(self._own[0], self.model, list(inputs))
        return self._value(found, [found.shape[1]] * len(found), targets)

    def compute_loss_from_embeddings(
        self, embeddings: Sequence[Tensor], labels: Tensor | Sequence[Tensor] | None = None
    ) -> Tensor:
        """Return the loss for embeddings that are already computed; called by ``SpladeLoss``.

        Parameters
        ----------
        embeddings
            (B, D) embeddings of the queries, then of the first documents, the second documents, ….
        labels
            As in ``forward``.
        """
        targets = self._read(labels)
        found = scoring.of_embeddings(self._own[0], embeddings[0], embeddings[1:])
        return self._value(found, [found.shape[1]] * len(found), targets)

    def get_config_dict(self) -> dict[str, Any]:
        """Return the description of the loss for the model card."""
        own = {"ranks": self.ranks, "positives": self.positives, "scale": self.scale}
        return {"loss": self.name, **self._options, **own}

    def _read(self, label: Tensor | Sequence[Tensor] | None) -> Targets | None:
        """Return the numbers of a batch; raise ``ValueError`` if numbers that the loss reads are missing."""
        by_teacher = {"teacher_scores", "teacher_order"} & {*self.term.needs}
        targets = read(label, "scores" if by_teacher else "labels")
        numbers = {} if targets is None else targets.numbers
        if by_teacher and "scores" not in numbers:
            raise ValueError(
                f"{self.name} reads the teacher's scores, which this batch does not have: the data need a column "
                "'scores', a list for each query with one number per document"
            )
        if "ranks" in self.term.needs and self.ranks == "data" and "ranks" not in numbers:
            raise ValueError(
                f"{self.name} reads the ranks of the documents, which this batch does not have: add a column 'ranks' "
                "to the data with the transform ListColumns, or set ranks='student' for the loss"
            )
        return targets

    def _value(self, found: Tensor, lengths: list[int], targets: Targets | None) -> Tensor:
        """Return the loss for (B, L) scores; ``lengths`` are the numbers of documents of the queries."""
        places = torch.arange(found.shape[1], device=found.device)
        mask = places < torch.tensor(lengths, device=found.device).unsqueeze(1)
        numbers = {}
        if targets is not None:
            _check_lengths(lengths, targets.lengths)
            mask, numbers = mask & targets.mask, targets.numbers
        scores = self.scale * found
        labels = numbers.get("labels", (places < self.positives).float().expand_as(found))
        ranks = shared_ranks(scores, mask) if self.ranks == "student" else numbers.get("ranks")
        batch = Batch(
            queries=None,
            documents=Tokens(mask.new_zeros(0, 0), mask.new_zeros(0, 0)),  # a loss on scores reads no texts
            index=torch.zeros_like(mask, dtype=torch.long),
            mask=mask,
            labels=labels,
            teacher_scores=numbers.get("scores"),
            ranks=ranks,
        )
        with torch.autocast(found.device.type, enabled=False):
            return self.term(StudentOutput(scores), batch)


def _check_lengths(documents: list[int], numbers: list[int]) -> None:
    if len(documents) != len(numbers):
        raise ValueError(f"the batch has {len(documents)} queries and {len(numbers)} rows in its label column")
    for query, (length, given) in enumerate(zip(documents, numbers, strict=True)):
        if length != given:
            raise ValueError(
                f"query {query} of the batch has {length} documents and {given} numbers in its label column: "
                "give one number per document"
            )


def _term(loss: str | Callable[..., Tensor], options: dict[str, Any]) -> Loss:
    """Return a registered loss, or a function, as a term with options."""
    for name in ("weight", "schedules"):
        if name in options:
            raise ValueError(f"{name} belongs to limbeck's objective; sentence-transformers trains with a single loss")
    if not isinstance(loss, str):
        return Term(loss, **options)
    known = {name: entry for (kind, name), entry in entries().items() if kind == "loss"}
    if loss not in known:
        raise ValueError(f"loss must be one of {', '.join(sorted(known))}, or a function, got {loss!r}")
    found = part({"_target_": known[loss].target}, key="loss")
    if not inspect.isclass(found):
        return Term(found, **options)
    names = [each.name for each in known[loss].parameters if each.name not in ("weight", "schedules")]
    for name in options:
        if name not in names:
            raise ValueError(f"{name} is no option of {loss}; it has {', '.join(names)}")
    return cast(Loss, found(**options))
