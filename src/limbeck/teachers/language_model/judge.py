"""A teacher that puts pairs into a prompt and reads a language model's answer off its logits."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from limbeck.config import ConfigError
from limbeck.inference import groups
from limbeck.plan import Plan
from limbeck.progress import Step
from limbeck.scores.kinds import Kind as Number
from limbeck.scores.writer import Provenance
from limbeck.teachers.language_model.answers import answer, keep_answers, keep_label, score_of
from limbeck.teachers.language_model.checkpoint import Checkpoint, Kind, checksum
from limbeck.teachers.language_model.prompt import Prompt, read_prompt
from limbeck.teachers.language_model.rows import Row, Rows
from limbeck.teachers.lists import by_lists
from limbeck.text.collate import Texts

_PART = 2048
"""Pairs of a part at most: what a kill may cost, some minutes of a large model."""

Ask = Callable[[Sequence[Row]], Tensor]
"""Returns the logits of a batch of rows, (N, A)."""


class Judge(ABC):
    """A language model as teacher.

    Parameters
    ----------
    query_texts, document_texts
        Look texts up by id.
    device
        Where the model computes.
    model
        Hub name or folder.
    prompt
        What it reads and answers, as ``Prompt`` has it; a name by
        ``teacher/prompt=NAME``.
    revision
        Commit or tag on the hub; pin it for results to be published.
    max_length
        Longest prompt in tokens; the document alone is cut to it. null takes what the model reads at most.
    bf16
        Hold the weights in bfloat16: half the memory and faster on a GPU, but pairs may tie. The logits of the answers
        are computed in float32 all the same.
    batch_tokens
        Tokens of one forward pass, padding included: what memory it takes.
    device_map
        Spread one model over several devices, as transformers takes it: ``auto``. Needs accelerate.
    store
        A score store of this very model and prompt (``limbeck score``): what it has is taken from it, the rest is
        computed.

    Raises
    ------
    ConfigError
        The model cannot be loaded or is of another kind, an answer is no single token, or the length is out of range.
    """

    given: ClassVar = ("query_texts", "document_texts", "device")
    kind: ClassVar[Kind]
    closed: ClassVar[bool] = False
    """Whether a prompt ends with what the tokenizer puts behind a text."""

    def __init__(
        self,
        query_texts: Texts,
        document_texts: Texts,
        device: torch.device,
        *,
        model: str,
        prompt: Any,
        revision: str | None,
        max_length: int | None,
        bf16: bool,
        batch_tokens: int,
        device_map: Any,
        store: str | None,
    ) -> None:
        if batch_tokens < 1:
            raise ValueError(f"batch_tokens must be >= 1, got {batch_tokens}")
        self.prompt: Prompt = read_prompt(prompt)
        self.store = None if store is None else Path(store).expanduser()
        self._query_texts, self._document_texts = query_texts, document_texts
        self._batch_tokens, self._bf16 = batch_tokens, bf16
        if self.prompt.score == "head" and self.kind == "seq2seq":
            raise ValueError("prompt.score=head is of teacher=causal_lm; take difference, positive or negative")
        self._checkpoint = Checkpoint(model, revision, self.kind)
        self.max_length = self._length(max_length)
        self._tokenizer = self._checkpoint.tokenizer()
        self._rows = Rows(self._tokenizer, self.prompt, self.max_length, closed=self.closed)
        head = self.prompt.score == "head"
        self._answers = [] if head else [self._answer("positive"), self._answer("negative")]
        loaded = self._checkpoint.model(head=head, bf16=bf16, device=device, device_map=device_map)
        self._weights = checksum(loaded)
        if head:
            keep_label(loaded, self._checkpoint.path)
        else:
            keep_answers(loaded, self._answers, self._checkpoint.path)
        self._model = loaded

    def _length(self, wanted: int | None) -> int:
        most = self._checkpoint.most_tokens()
        if wanted is None and most is None:
            raise ConfigError(
                "teacher.max_length: nothing bounds what this model reads; give the length that it was trained with"
            )
        if wanted is not None and (wanted < 1 or (most is not None and wanted > most)):
            bound = f" and <= {most}, what this model reads" if most else ""
            raise ConfigError(
                f"teacher.max_length must be >= 1{bound}; got {wanted}. null takes as much as the model reads"
            )
        return int(wanted or most or 0)

    def _answer(self, which: str) -> int:
        return answer(self._tokenizer, getattr(self.prompt, which), f"teacher.prompt.{which}")

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._checkpoint.name

    @property
    def number(self) -> Number:
        """What kind of number a score is."""
        return "logit_difference" if self.prompt.score == "difference" else "logit"

    def identity(self) -> dict[str, Any]:
        """Return what the scores depend on."""
        return {
            "kind": self.kind,
            "model": self.name,
            "revision": self._checkpoint.revision,
            "weights": self._weights,
            "prompt": self.prompt.label,
            "max_length": self.max_length,
            "bf16": self._bf16,
        }

    def provenance(self, collection: str, command: str) -> Provenance:
        """Return what is written into stores of the scores."""
        revision = self._checkpoint.revision
        return Provenance(
            self.name,
            self.number,
            revision=f"{f'{revision}, ' if revision else ''}weights {self._weights}",
            prompt=self.prompt.label,
            max_length=f"prompt {self.max_length} tokens",
            dtype="bfloat16" if self._bf16 else "float32",
            collection=collection,
            command=command,
        )

    def plan(self, lists: Mapping[str, Sequence[str]], size: int) -> Plan:
        """Cut the scoring of lists into parts of so many pairs, 2048 at most."""
        return Plan(lists, by_document=False, size=min(size, _PART))

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return what scores the parts; a query whose prompt has no room for a document is refused at once."""
        for query, text in zip(plan.query_ids, self._query_texts(plan.query_ids), strict=True):
            self._rows.check(query, text)
        return by_lists(self.score, plan)

    @torch.inference_mode()
    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return raw float32 scores, one array a query, in the order of its list.

        Raises
        ------
        ConfigError
            A score is not finite, or a query's prompt is too long; the message names the pair or the query.
        """
        prompts = [self._prompts(query, documents) for query, documents in zip(query_ids, lists, strict=True)]
        pairs = sum(map(len, prompts))
        with Step(f"judging {pairs:,} pairs", pairs, "pairs", part=True) as step:
            logits = self._logits(prompts, step.advance)
        found = []
        for query, documents, each in zip(query_ids, lists, logits, strict=True):
            scores = score_of(each, self.prompt.score).float().cpu().numpy()
            if not np.isfinite(scores).all():
                document = documents[int(np.flatnonzero(~np.isfinite(scores))[0])]
                raise ConfigError(
                    f"the teacher {self.name} gives query {query!r} and document {document!r} the score "
                    f"{scores[~np.isfinite(scores)][0]}: its weights are damaged, or overflow"
                    f"{'; try teacher.bf16=false' if self._bf16 else ''}"
                )
            found.append(scores)
        return found

    def _prompts(self, query: str, documents: Sequence[str]) -> list[Row]:
        (text,) = self._query_texts([query])
        return self._rows(query, text, self._document_texts(documents)) if len(documents) else []

    @abstractmethod
    def _logits(self, lists: Sequence[Sequence[Row]], done: Callable[[int], object]) -> list[Tensor]:
        """Return (N, A) logits for each list of N rows, in its order; ``done`` gets the size of each batch."""

    def _sorted(self, rows: Sequence[Row], ask: Ask, done: Callable[[int], object]) -> Tensor:
        """Return the logits of rows, asked for in batches of like length."""
        batches = list(groups([len(row) for row in rows], self._batch_tokens))
        answers = []
        for batch in batches:
            answers.append(ask([rows[i] for i in batch]).float())
            done(len(batch))
        place = torch.tensor([i for batch in batches for i in batch], device=answers[0].device)
        return torch.cat(answers)[place.argsort()]

    def look(self, query: str, document: str) -> dict[str, Any]:
        """Return what the model reads of a pair and what it answers, to be looked at.

        Returns
        -------
        dict
            ``query``, ``document``, ``prompt`` (the text of the tokens), ``tokens`` and ``cut`` (numbers of them),
            ``document_end`` and ``behind``, ``end`` (pieces before and behind the end of the document, and the last
            ones), ``answers`` (piece → logit) and ``score``.
        """
        (row,) = self._prompts(query, [document])
        with torch.inference_mode():
            (logits,) = self._logits([[row]], lambda _: None)
        pieces = self._tokenizer.convert_ids_to_tokens(row.ids.tolist())
        names = self._tokenizer.convert_ids_to_tokens(self._answers) if self._answers else ["head"]
        return {
            "query": query,
            "document": document,
            "prompt": self._tokenizer.decode(row.ids.tolist(), skip_special_tokens=False),
            "tokens": len(row),
            "cut": row.cut,
            "document_end": pieces[max(0, row.end - 4) : row.end],
            "behind": pieces[row.end : row.end + 4],
            "end": pieces[-4:],
            "answers": dict(zip(names, logits[0].float().tolist(), strict=True)),
            "score": float(score_of(logits, self.prompt.score)[0]),
        }
