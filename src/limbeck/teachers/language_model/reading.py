"""Answer logits of language models for rows of tokens, with or without a cached prefix."""

import copy
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from limbeck.teachers.language_model.rows import Row, shared
from limbeck.text.tokenizer import TokenIds

if TYPE_CHECKING:
    from transformers import DynamicCache, PreTrainedModel

log = logging.getLogger(__name__)

_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Tolerance of logits in the test of the prefix cache; relative for logits above 1."""


class Encoded:
    """Logits of an encoder-decoder's first output token.

    Parameters
    ----------
    model
        Encoder-decoder with an ``AnswerHead``.
    """

    def __init__(self, model: "PreTrainedModel") -> None:
        self._model: Any = model
        start = getattr(model.config, "decoder_start_token_id", None)
        self._start = int(model.config.pad_token_id or 0) if start is None else int(start)  # pyright: ignore

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        """Return (N, A) float32 logits at the decoder's first step."""
        ids, mask = _padded([row.ids for row in rows], self._model.device)
        first = torch.full((len(rows), 1), self._start, device=ids.device)
        return self._model(input_ids=ids, attention_mask=mask, decoder_input_ids=first, use_cache=False).logits[:, 0]


class Decoded:
    """Logits of a decoder after the last token of each row.

    Rows are padded on the right, so that for every model a token's position and attention window do not depend on the
    batch, and no position ids are needed; tokens do not attend to padding after them.

    Parameters
    ----------
    model
        Decoder with an ``AnswerHead``, or with a classification head ``score``.
    head
        Whether the model has a classification head.
    """

    def __init__(self, model: "PreTrainedModel", *, head: bool) -> None:
        self._model: Any = model
        self._head = head
        self.window: int | None = None
        """Maximum length of rows with a cached prefix; None for no maximum."""

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        """Return (N, A) float32 logits."""
        ids, mask = _padded([row.ids for row in rows], self._model.device)
        return _last(self._logits(ids, mask, use_cache=False)[0], mask)

    def prefix(self, ids: TokenIds) -> "DynamicCache":
        """Return the keys and values of a prefix."""
        from transformers import DynamicCache

        row, mask = _padded([ids], self._model.device)
        cache = DynamicCache(config=self._model.config)
        return self._logits(row, mask, past_key_values=cache, use_cache=True)[1]

    def behind(self, prefix: "DynamicCache", rows: Sequence[Row]) -> Tensor:
        """Return the (N, A) logits of rows, given the keys and values of their shared prefix."""
        length = prefix.get_seq_length()
        ids, mask = _padded([row.ids[length:] for row in rows], self._model.device)
        cache = copy.deepcopy(prefix)
        cache.batch_repeat_interleave(len(rows))
        whole = torch.cat([mask.new_ones(len(rows), length), mask], dim=1)
        return _last(self._logits(ids, whole, past_key_values=cache, use_cache=True)[0], mask)

    def _logits(self, ids: Tensor, mask: Tensor, **cache: Any) -> tuple[Tensor, Any]:
        """Return (N, T, A) logits, and the cache."""
        if not self._head:
            found = self._model(input_ids=ids, attention_mask=mask, **cache)
            return found.logits, found.past_key_values
        found = self._model.base_model(input_ids=ids, attention_mask=mask, **cache)
        return self._model.score(found.last_hidden_state), found.past_key_values

    @torch.inference_mode()
    def reuses_prefixes(self, rows: Sequence[Row]) -> bool:
        """Return whether the model supports a cached prefix, tested on rows of different lengths.

        The cache shows layers that store more than keys and values (recurrent states), which are not supported, and
        sliding windows, which limit the length of rows (``window``).
        """
        reason = self._refusal(rows)
        if reason is not None:
            log.info("the prefix of instruction and query is not cached: %s", reason)
        return reason is None

    def _refusal(self, rows: Sequence[Row]) -> str | None:
        from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

        try:
            cache = self.prefix(rows[0].ids[: shared(rows)])
            layers = list(cache.layers)
            if not layers or {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}:
                return "a layer of this model stores more than keys and values"
            windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
            self.window = min(windows, default=None)
            if self.window is not None and max(map(len, rows)) > self.window:
                return f"the window of a layer, {self.window} tokens, is shorter than any prompt"
            found, wanted = self.behind(cache, rows), self(rows)
        except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
            return f"it supports no cached prefix ({str(error).splitlines()[0] if str(error) else type(error)})"
        far = (found - wanted).abs() / wanted.abs().clamp(min=1)
        if not far.max() <= _TOLERANCE.get(self._model.dtype, 1e-3) and wanted.isfinite().all():
            return f"with a cached prefix its logits differ by {float(far.max()):.2g}"
        return None


def _padded(rows: Sequence[TokenIds], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return (N, T) ids, padded on the right with 0, and their mask."""
    lengths = np.array([len(row) for row in rows])
    real = np.arange(lengths.max()) < lengths[:, None]
    ids = np.zeros(real.shape, dtype=np.int64)
    ids[real] = np.concatenate(rows)
    return torch.from_numpy(ids).to(device), torch.from_numpy(real.astype(np.int64)).to(device)


def _last(logits: Tensor, mask: Tensor) -> Tensor:
    """Return the (N, A) logits at the last token of each row."""
    return logits[torch.arange(len(logits), device=logits.device), mask.sum(dim=1).to(logits.device) - 1]
