"""The ranker for texts that ``limbeck.load`` returns."""

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse
import torch

from limbeck.config import Node, part_name
from limbeck.encodings import DenseRows, MultiRows, Rows, SparseRows
from limbeck.inference import encode, score_lists
from limbeck.rankings import order
from limbeck.students.base import BiEncoder, Student
from limbeck.text.collate import Collator
from limbeck.text.tokenizer import Role, TextTokenizer

_ROLES = ("query", "document")


class TextRanker:
    """A trained ranker that encodes, scores and ranks texts.

    Texts are sorted by length and read in batches, with dropout off. Work that takes longer than ten seconds shows a
    progress bar on terminals and in notebooks.

    Parameters
    ----------
    student, tokenizer
        As ``limbeck.experiment.assemble.saved`` builds them.
    node
        The student's configuration node, defaults included.
    source
        Where it was loaded from: a folder or a name on the hub.
    write
        Writes it to a folder in the format of sentence-transformers, as ``limbeck export`` does. Called with the
        folder, the model's name, and entries of the card that no run records.
    device
        Device of the model.
    bf16
        Compute in bfloat16.

    Attributes
    ----------
    kind : str
        ``dense``, ``splade``, ``colbert``, ``cross_encoder``, or a student of your own.
    scale : float
        Factor between the similarity of two encodings and ``score``; 1 for cross-encoders.
    """

    def __init__(
        self,
        student: Student,
        tokenizer: TextTokenizer,
        node: Node,
        source: str,
        write: Callable[[Path, str, Mapping[str, Any] | None], object],
        *,
        device: torch.device,
        bf16: bool = False,
    ) -> None:
        self.student = student.eval().to(device)
        self.tokenizer = tokenizer
        self.kind = part_name(node)
        self.node = dict(node)
        self.source = source
        self.device = device
        self.bf16 = bf16
        self._write = write
        self._collator = Collator(tokenizer, student.style, list, list)  # each text is its own id

    def __repr__(self) -> str:
        return f"TextRanker({self.kind}, {self.source!r}, device={str(self.device)!r})"

    @property
    def scale(self) -> float:
        """Factor between the similarity of two encodings and a score."""
        return float(getattr(self.student, "scale", 1.0))

    def encode(self, texts: Sequence[str], role: Role) -> Any:
        """Encode queries or documents.

        Parameters
        ----------
        texts
            N texts.
        role
            ``query`` or ``document``: prefix, length and, for some students, the model differ.

        Returns
        -------
        numpy.ndarray, scipy.sparse.csr_array or list
            float32 in the order of the texts. Dense student: array (N, D); sparse student: CSR array (N, V) over the
            vocabulary. For both, the score is the inner product times ``scale``. Multi-vector student: list of N arrays
            (T, D), one vector per token; the score is the sum, over the query's vectors, of the largest inner product
            with a vector of the document, times ``scale``.

        Raises
        ------
        ValueError
            The ranker is a cross-encoder, which reads query and document together; or the role is neither of the two.
        """
        if role not in _ROLES:
            raise ValueError(f"role must be query or document, got {role!r}")
        texts = _listed(texts, "texts")
        if not isinstance(self.student, BiEncoder):
            raise ValueError(
                f"a {self.kind} reads query and document together and encodes neither alone; call score(query, "
                "documents) or rank(query, {id: document})"
            )
        if not texts:  # only the encoder knows the shape of an empty result
            return _plain(encode(self.student, self._collator, [""], role, bf16=self.bf16).part(0, 0))
        return _plain(encode(self.student, self._collator, texts, role, bf16=self.bf16))

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        """Return the scores of documents for a query.

        Parameters
        ----------
        query
            One text.
        documents
            N texts.

        Returns
        -------
        numpy.ndarray
            (N,) float32 in the order of the documents; higher is better.
        """
        if not isinstance(query, str):
            raise ValueError(f"query must be one text, got {type(query).__name__}; call score once for each query")
        documents = _listed(documents, "documents")
        if not documents:
            return np.zeros(0, dtype=np.float32)
        return score_lists(self.student, self._collator, {query: documents}, bf16=self.bf16)[query]

    def rank(self, query: str, documents: Mapping[str, str], *, depth: int | None = None) -> list[tuple[str, float]]:
        """Rank documents for a query.

        Parameters
        ----------
        query
            One text.
        documents
            Id → text.
        depth
            Keep the best ``depth``; None keeps all.

        Returns
        -------
        list of (id, score)
            Best first. Ties are ordered as trec_eval orders them: by id, descending.
        """
        if not isinstance(documents, Mapping):
            raise ValueError(f"documents must be a mapping of ids to texts, got {type(documents).__name__}")
        ranking = order(list(documents), self.score(query, list(documents.values())), depth)
        return list(zip(ranking.ids, ranking.scores.tolist(), strict=True))

    def to(self, device: str | torch.device) -> "TextRanker":
        """Move the model to a device, and return the ranker."""
        self.device = torch.device(device)
        self.student.to(self.device)
        return self

    def save(self, folder: str | Path, *, card: Mapping[str, Any] | None = None) -> Path:
        """Write a folder for ``limbeck.load``, sentence-transformers and transformers, as ``limbeck export`` does.

        Parameters
        ----------
        folder
            Output folder; an earlier export in it is replaced.
        card
            Entries of the model card that no run records: ``license``, ``language``, ``base_model``, ``datasets``, as
            ``{"license": "apache-2.0", "language": "en"}``.

        Returns
        -------
        pathlib.Path
            The folder.

        Raises
        ------
        ConfigError
            The folder holds something else, or sentence-transformers has no class for this student.
        """
        target = Path(folder).expanduser()
        self._write(target, target.name, card)
        return target

    def push_to_hub(
        self,
        repo: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        message: str = "Upload a ranker",
        token: str | None = None,
        card: Mapping[str, Any] | None = None,
    ) -> str:
        """Upload what ``save`` writes to a repository on the Hugging Face hub, created if it does not exist.

        Parameters
        ----------
        repo
            ``NAME`` or ``OWNER/NAME``.
        private
            Whether a new repository is private; None takes the owner's default.
        revision
            Branch, created if it does not exist; None is the main branch.
        message
            Commit message.
        token
            Access token of the hub; None takes the one of ``hf auth login``.
        card
            As for ``save``.

        Returns
        -------
        str
            Address of the commit.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "model"
            self._write(folder, repo, card)  # before the repository is created: not every student can be written
            name = api.create_repo(repo, private=private, exist_ok=True).repo_id
            if name != repo:  # the examples in the card load it by its full name
                self._write(folder, name, card)
            if revision is not None:
                api.create_branch(name, branch=revision, exist_ok=True)
            return str(api.upload_folder(repo_id=name, folder_path=folder, commit_message=message, revision=revision))


def _listed(texts: Iterable[str], name: str) -> list[str]:
    if isinstance(texts, str | Mapping):
        raise ValueError(f"{name} must be a list of texts, got one {type(texts).__name__}")
    listed = list(texts)
    wrong = [each for each in listed if not isinstance(each, str)]
    if wrong:
        raise ValueError(f"{name} must be texts, got a {type(wrong[0]).__name__}: {wrong[0]!r}")
    return listed


def _plain(rows: Rows) -> np.ndarray | scipy.sparse.csr_array | list[np.ndarray]:
    arrays = {name: value.cpu().numpy() for name, value in rows.arrays().items()}
    if isinstance(rows, SparseRows):
        shape = len(rows), rows.width
        return scipy.sparse.csr_array((arrays["values"], arrays["columns"], arrays["offsets"]), shape=shape)
    if isinstance(rows, MultiRows):
        return np.split(arrays["values"], arrays["offsets"][1:-1]) if len(rows) else []
    assert isinstance(rows, DenseRows), "there are three kinds"
    return arrays["values"]
