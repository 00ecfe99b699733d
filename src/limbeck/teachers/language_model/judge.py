"""The base class of teachers that put pairs into a prompt and score them by a language model's logits."""

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
"""Maximum pairs of a part, which is what a kill can lose: some minutes with a large model."""

Ask = Callable[[Sequence[Row]], Tensor]
"""Function from a batch of N rows to their (N, A) logits."""


class Judge(ABC):
    """A language model as teacher.

    Parameters
    ----------
    query_texts, document_texts
        Functions from query (document) ids to texts.
    device
        Device of the model.
    model
        Hub name or folder.
    prompt
        Template and answers, with the options of ``Prompt``; choose one by name with ``teacher/prompt=NAME``.
    revision
        Commit or tag on the hub; pin it for results that you publish.
    max_length
        Maximum length of a prompt in tokens; longer prompts have their document cut. null is the model's maximum.
    bf16
        Load the weights in bfloat16: half the memory and faster on a GPU, but scores may tie. The answers' logits are
        still computed in float32.
    batch_tokens
        Tokens of one forward pass, including padding; determines the memory.
    device_map
        Spread one model over several devices, with transformers' ``device_map``: ``auto``. Needs accelerate.
    store
        A score store of this model and prompt (``limbeck score``): its scores are used, missing ones are computed.

    Raises
    ------
    ConfigError
        The model cannot be loaded or is of another kind, an answer is not a single token, or the length is out of
        range.
    """

    given: ClassVar = ("query_texts", "document_texts", "device")
    kind: ClassVar[Kind]
    closed: ClassVar[bool] = False
    """Whether prompts end with the special tokens that the tokenizer adds after a text."""

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
            raise ValueError("prompt.score=head needs teacher=causal_lm; choose difference, positive or negative")
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
                "teacher.max_length: this model has no maximum length; set the length that it was trained with"
            )
        if wanted is not None and (wanted < 1 or (most is not None and wanted > most)):
            bound = f" and <= {most}, the model's maximum" if most else ""
            raise ConfigError(f"teacher.max_length must be >= 1{bound}; got {wanted}. null is the model's maximum")
        return int(wanted or most or 0)

    def _answer(self, which: str) -> int:
        return answer(self._tokenizer, getattr(self.prompt, which), f"teacher.prompt.{which}")

    @property
    def name(self) -> str:
        """Name of the model."""
        return self._checkpoint.name

    @property
    def number(self) -> Number:
        """Kind of number that a score is."""
        return "logit_difference" if self.prompt.score == "difference" else "logit"

    def identity(self) -> dict[str, Any]:
        """Return everything that the scores depend on, except the collection."""
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
        """Return the provenance for score stores."""
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
        """Split the scoring of lists into parts of at most ``size`` pairs, and at most 2048."""
        return Plan(lists, by_document=False, size=min(size, _PART))

    def scorer(self, plan: Plan) -> Callable[[int], np.ndarray]:
        """Return the function that scores a part; raise an error for a query whose prompt is too long."""
        for query, text in zip(plan.query_ids, self._query_texts(plan.query_ids), strict=True):
            self._rows.check(query, text)
        return by_lists(self.score, plan)

    @torch.inference_mode()
    def score(self, query_ids: Sequence[str], lists: Sequence[Sequence[str]]) -> list[np.ndarray]:
        """Return raw float32 scores: one array per query, in the order of its list.

        Raises
        ------
        ConfigError
            A score is NaN or infinite, or a query's prompt is too long; the message names the pair or the query.
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
        """Return (N, A) logits for each list of N rows; call ``done`` with the size of each finished batch."""

    def _sorted(self, rows: Sequence[Row], ask: Ask, done: Callable[[int], object]) -> Tensor:
        """Return the logits of rows, computed in batches of similar length."""
        batches = list(groups([len(row) for row in rows], self._batch_tokens))
        answers = []
        for batch in batches:
            answers.append(ask([rows[i] for i in batch]).float())
            done(len(batch))
        place = torch.tensor([i for batch in batches for i in batch], device=answers[0].device)
        return torch.cat(answers)[place.argsort()]

    def look(self, query: str, document: str) -> dict[str, Any]:
        """Return the prompt of a pair and the model's answer, for inspection.

        Returns
        -------
        dict
            ``query`` and ``document``; ``prompt``, the decoded tokens; ``tokens`` and ``cut``, the numbers of tokens
            and of tokens cut off; ``document_end`` and ``behind``, the tokens before and after the document's end;
            ``end``, the last tokens; ``answers``, token → logit; ``score``.
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
