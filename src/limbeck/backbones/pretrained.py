"""A checkpoint of the Hugging Face hub or a folder."""

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limbeck.backbones import families, hub, labels, mlm
from limbeck.backbones.adapters import read_lora
from limbeck.backbones.backbone import Task, prepared
from limbeck.backbones.layout import lower_cases
from limbeck.backbones.sources import clear_errors, load_tokenizer, locate, quiet, report, tokenizer_folder
from limbeck.registry import register
from limbeck.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_AUTO: dict[Task, str] = {
    "encoder": "AutoModel",
    "classifier": "AutoModelForSequenceClassification",
    "difference": "AutoModelForSequenceClassification",
    "mlm": "AutoModelForMaskedLM",
}


@register("backbone", "pretrained")
class Pretrained:
    """A pretrained Hugging Face encoder, by hub name or folder.

    All families that transformers has a masked language model for: BERT (MiniLM), DistilBERT, ELECTRA, ModernBERT,
    RoBERTa, XLM-R, MPNet, DeBERTa and so on. What the checkpoint and the student's transformer do not share is logged.

    Parameters
    ----------
    model
        Hub name, ``package:NAME/FOLDER`` inside an installed package, or a folder: of a checkpoint, of a run, or of
        sentence-transformers.
    revision
        Commit or tag on the hub; pin it for results to be published.
    layers
        Keep only the first n layers; null keeps all.
    dropout
        Override the checkpoint's dropout of states and attention, in [0, 1); null keeps it.
    lora
        Train low-rank adapters instead of the transformer: ``{rank: 8, alpha: 16, dropout: 0, targets: null}``, see
        :class:`~limbeck.backbones.adapters.Lora`; ``{}`` takes these defaults, null trains all weights. A saved
        student has them merged. They want a higher ``optim.lr``, about 1e-4 to 1e-3.
    gradient_checkpointing
        Compute the states inside each layer again in the backward pass: the same numbers, less memory, about a third
        more time.

    Raises
    ------
    ValueError
        A value is out of range, peft or a model's package is not installed, or the folder holds no single transformer.
    """

    learning_rate = 2e-5

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        lora: Any = None,
        gradient_checkpointing: bool = False,
    ) -> None:
        if layers is not None and layers < 1:
            raise ValueError(f"layers must be >= 1 or null, got {layers}")
        if dropout is not None and not 0 <= dropout < 1:
            raise ValueError(f"dropout must be in [0, 1) or null, got {dropout}")
        self.path = locate(model)
        self.untrained = False
        self.revision = revision
        self.layers = layers
        self.dropout = dropout
        self.lora = read_lora(lora)
        self.gradient_checkpointing = gradient_checkpointing
        self.anew: list[str] = []
        """Parameters of the model built last that the checkpoint does not give."""
        self.labels: list[str] = []
        """Of the checkpoint's classifier, where the model built last has another number of them."""

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Load the checkpoint's tokenizer."""
        del texts, folder  # nothing is trained
        place = hub.described(self.path, self.revision) if hub.is_name(self.path) else None
        lower_case = lower_cases(place or Path(self.path))
        return load_tokenizer(tokenizer_folder(self.path), self.revision, lower_case=lower_case)

    def model(self, tokenizer: TextTokenizer, task: Task) -> "PreTrainedModel":
        """Load the checkpoint."""
        import transformers

        with quiet(), clear_errors(self.path):
            config = transformers.AutoConfig.from_pretrained(self.path, revision=self.revision, trust_remote_code=False)
            families.check_encoder(config, self.path)
            if self.layers is not None:
                families.cut_layers(config, self.layers, self.path)
            if self.dropout is not None:
                families.set_dropout(config, self.dropout, self.path)
            names = list((config.id2label or {}).values())
            model, info = self._loaded(task, config)
            self.labels = labels.of_checkpoint(model, info, names)
            if task == "difference" and len(self.labels) == 1:  # reduced to one label before it was saved
                task = "classifier"
                model, info = self._loaded(task, config)
                self.labels = labels.of_checkpoint(model, info, names)
            if task == "difference":
                labels.check_two(info, self.labels)
        self.anew = report(model, info, self.path, self.layers)
        if task == "difference":
            labels.subtract(model)
        if task == "encoder" and getattr(model, "pooler", None) is not None:
            model.pooler = None  # not used by any encoder student; its parameters would never get a gradient
        if task == "mlm" and set(mlm.head_names(model)) <= set(self.anew) and mlm.start_near_identity(model):
            log.info("%s: the new head of masked words starts near the identity", self.path)
        families.check_tokenizer(model, len(tokenizer.tokenizer), tokenizer.pad_id, self.path)
        return prepared(model, self.lora, self.gradient_checkpointing, self.anew)

    def _loaded(self, task: Task, config: Any) -> tuple[Any, dict[str, Any]]:
        """Return the checkpoint as a model for a task, and transformers' account of what they do not share."""
        import transformers

        if task in ("classifier", "difference"):
            config.num_labels = 1 if task == "classifier" else 2
        return getattr(transformers, _AUTO[task]).from_pretrained(
            self.path,
            revision=self.revision,
            config=config,
            dtype=torch.float32,
            trust_remote_code=False,
            ignore_mismatched_sizes=True,  # `report` names them
            output_loading_info=True,
        )
