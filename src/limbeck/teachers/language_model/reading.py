"""What a language model answers to rows of tokens: alone, or behind a prefix that was read once for all of them."""

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
"""How far the logits of the check of the cache may differ, relative where they are above 1."""


class Encoded:
    """The first answer of an encoder with a decoder.

    Parameters
    ----------
    model
        With the answers as its output matrix.
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
    """The answer of a decoder behind the last token of a row.

    Rows are padded on the right. A token then stands at its position whatever is in the batch, for every model: there
    are no position ids to give, windows reach back as far as without padding, and no token sees what comes behind it.

    Parameters
    ----------
    model
        With the answers as its output matrix, or with a classification head ``score``.
    head
        It has such a head.
    """

    def __init__(self, model: "PreTrainedModel", *, head: bool) -> None:
        self._model: Any = model
        self._head = head
        self.window: int | None = None
        """Longest row that a cached prefix may have; None for any."""

    def __call__(self, rows: Sequence[Row]) -> Tensor:
        """Return (N, A) float32 logits."""
        ids, mask = _padded([row.ids for row in rows], self._model.device)
        return _last(self._logits(ids, mask, use_cache=False)[0], mask)

    def prefix(self, ids: TokenIds) -> "DynamicCache":
        """Return the keys and values of tokens that rows begin with."""
        from transformers import DynamicCache

        row, mask = _padded([ids], self._model.device)
        cache = DynamicCache(config=self._model.config)
        return self._logits(row, mask, past_key_values=cache, use_cache=True)[1]

    def behind(self, prefix: "DynamicCache", rows: Sequence[Row]) -> Tensor:
        """Return what a call with the rows returns, given the keys and values of the tokens that all begin with."""
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
        """Return whether a prefix may be read once for many rows, by trying it on some rows that differ in length.

        Layers that keep anything but keys and values (recurrent states), or that drop old ones (sliding windows), are
        known by the cache that they fill: the former are refused, the latter bound the length, ``window``.
        """
        reason = self._refusal(rows)
        if reason is not None:
            log.info("instruction and query are read anew for each document: %s", reason)
        return reason is None

    def _refusal(self, rows: Sequence[Row]) -> str | None:
        from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

        try:
            cache = self.prefix(rows[0].ids[: shared(rows)])
            layers = list(cache.layers)
            if not layers or {type(layer) for layer in layers} - {DynamicLayer, DynamicSlidingWindowLayer}:
                return "a layer of this model keeps more than keys and values"
            windows = [layer.sliding_window for layer in layers if isinstance(layer, DynamicSlidingWindowLayer)]
            self.window = min(windows, default=None)
            if self.window is not None and max(map(len, rows)) > self.window:
                return f"the window of a layer, {self.window} tokens, is shorter than any prompt"
            found, wanted = self.behind(cache, rows), self(rows)
        except (AttributeError, TypeError, ValueError, NotImplementedError) as error:
            return f"this model takes no cached prefix ({str(error).splitlines()[0] if str(error) else type(error)})"
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
    """Return (N, A) of (N, T, A): those at the last token of each row."""
    return logits[torch.arange(len(logits), device=logits.device), mask.sum(dim=1).to(logits.device) - 1]
