"""Causal language models as teachers: the logits of two answers after a prompt, or a classification head."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from limbeck.registry import register
from limbeck.teachers.language_model.checkpoint import Kind
from limbeck.teachers.language_model.judge import Judge
from limbeck.teachers.language_model.reading import Decoded
from limbeck.teachers.language_model.rows import Row, shared
from limbeck.text.collate import Texts

_FEW = 4
"""Minimum number of documents of a list for which the shared prefix of its prompts is cached."""


@register("teacher", "causal_lm")
class CausalLMTeacher(Judge):
    """Scores a pair by the next token after a prompt: the logit of the positive minus that of the negative answer.

    The logits are raw. The prefix that all prompts of a list share (instruction and query) is computed once, and its
    keys and values are reused for all documents of the list. Models with layers that do not allow this, and prompts
    longer than a sliding window, are computed without a cached prefix; a test when the model is loaded decides.

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
    prefix_cache
        Compute the shared prefix of a list's prompts once; false computes each prompt in full. The scores are the same
        up to rounding.
    device_map
        As in ``limbeck.teachers.language_model.judge.Judge``.
    store
        As in ``limbeck.teachers.language_model.judge.Judge``.

    Raises
    ------
    ConfigError
        As in ``limbeck.teachers.language_model.judge.Judge``.
    """

    kind: ClassVar[Kind] = "causal_lm"

    def __init__(
        self,
        query_texts: Texts,
        document_texts: Texts,
        device: torch.device,
        *,
        model: str,
        prompt: Any,
        revision: str | None = None,
        max_length: int | None = 1024,
        bf16: bool = False,
        batch_tokens: int = 4096,
        prefix_cache: bool = True,
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
        self._read = Decoded(self._model, head=self.prompt.score == "head")
        self.reuses_prefixes = prefix_cache and self._read.reuses_prefixes(self._rows.samples())

    def _logits(self, lists: Sequence[Sequence[Row]], done: Callable[[int], object]) -> list[Tensor]:
        found: list[Tensor | None] = [None] * len(lists)
        apart = []
        for number, rows in enumerate(lists):
            if self._behind_a_prefix(rows):
                prefix = self._read.prefix(rows[0].ids[: shared(rows)])
                found[number] = self._sorted(rows, lambda batch, prefix=prefix: self._read.behind(prefix, batch), done)
            else:
                apart.append(number)
        whole = [row for number in apart for row in lists[number]]
        logits = self._sorted(whole, self._read, done) if whole else torch.empty(0, 1)
        for number, each in zip(apart, logits.split([len(lists[number]) for number in apart]), strict=True):
            found[number] = each
        return [each for each in found if each is not None]

    def _behind_a_prefix(self, rows: Sequence[Row]) -> bool:
        if not self.reuses_prefixes or len(rows) < _FEW or shared(rows) < 1:
            return False
        return self._read.window is None or max(map(len, rows)) <= self._read.window
