"""Encoder-decoders as teachers, such as monoT5: the logits of two answers at the decoder's first step."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.registry import register
from limbeck.teachers.language_model.checkpoint import Kind
from limbeck.teachers.language_model.judge import Judge
from limbeck.teachers.language_model.reading import Encoded
from limbeck.teachers.language_model.rows import Row
from limbeck.text.collate import Texts


@register("teacher", "seq2seq")
class Seq2SeqTeacher(Judge):
    """Scores a pair by the decoder's first token: the logit of true minus that of false.

    monoT5's code scores by the log-softmax over the two logits, which is the logarithm of the sigmoid of this
    difference. The order is the same, but the difference does not saturate for confident answers.

    Parameters
    ----------
    query_texts, document_texts, device
        As in ``limbeck.teachers.language_model.judge.Judge``.
    model
        As in ``limbeck.teachers.language_model.judge.Judge``.
    prompt
        As in ``limbeck.teachers.language_model.judge.Judge``.
    revision
        As in ``limbeck.teachers.language_model.judge.Judge``.
    max_length
        As in ``limbeck.teachers.language_model.judge.Judge``.
    bf16
        As in ``limbeck.teachers.language_model.judge.Judge``.
    batch_tokens
        As in ``limbeck.teachers.language_model.judge.Judge``.
    device_map
        As in ``limbeck.teachers.language_model.judge.Judge``.
    store
        As in ``limbeck.teachers.language_model.judge.Judge``.

    Raises
    ------
    ConfigError
        As in ``limbeck.teachers.language_model.judge.Judge``.

    References
    ----------
    Nogueira et al., Document Ranking with a Pretrained Sequence-to-Sequence Model, Findings of EMNLP 2020.
    """

    kind: ClassVar[Kind] = "seq2seq"
    closed: ClassVar[bool] = True

    def __init__(
        self,
        query_texts: Texts,
        document_texts: Texts,
        device: torch.device,
        *,
        model: str,
        prompt: Any,
        revision: str | None = None,
        max_length: int | None = 512,
        bf16: bool = False,
        batch_tokens: int = 4096,
        device_map: Any = None,
        store: str | None = None,
    ) -> None:
        super().__init__(
            query_texts,
            document_texts,
            device,
            model=model,
            prompt=prompt,
            revision=revision,
            max_length=max_length,
            bf16=bf16,
            batch_tokens=batch_tokens,
            device_map=device_map,
            store=store,
        )
        self._read = Encoded(self._model)

    def _logits(self, lists: Sequence[Sequence[Row]], done: Callable[[int], object]) -> list[Tensor]:
        rows = [row for each in lists for row in each]
        logits = self._sorted(rows, self._read, done) if rows else torch.empty(0, 1)
        return list(logits.split([len(each) for each in lists]))
