"""Pretrained backbones, from the Hugging Face hub or a folder."""

import contextlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from limbeck.backbones import decoders, families, hub, labels, mlm, stanford
from limbeck.backbones.adapters import Lora, read_lora
from limbeck.backbones.backbone import Task, prepared
from limbeck.backbones.layout import lower_cases
from limbeck.backbones.sources import clear_errors, load_tokenizer, locate, quiet, report, tokenizer_folder
from limbeck.config import ConfigError
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
    """A pretrained Hugging Face transformer, by hub name or folder.

    Supports encoders of all families with a masked language model in transformers (BERT, MiniLM, DistilBERT, ELECTRA,
    ModernBERT, RoBERTa, XLM-R, MPNet, DeBERTa, …) and decoders (Qwen3, Gemma, Llama, …). The log lists weights that the
    checkpoint lacks and weights that are not used.

    Parameters
    ----------
    model
        Hub name or folder. The folder is that of a checkpoint, a run or a model of sentence-transformers;
        ``package:NAME/FOLDER`` is a folder in an installed package.
    revision
        Commit or tag on the hub. Pin it for results that you publish.
    layers
        Keep only the first n layers; null keeps all.
    dropout
        Dropout of hidden states and attention. In [0, 1); null keeps the checkpoint's.
    lora
        Train low-rank adapters (LoRA). Options are ``{rank: 8, alpha: 16, dropout: 0, targets: null}``; ``{}`` has
        these defaults, ``false`` trains all weights, null is ``false`` for encoders and ``{}`` for decoders.
        Adapters need a higher ``optim.lr``, about 1e-4 to 1e-3. Saved students have them merged.
    gradient_checkpointing
        Recompute activations in the backward pass. The numbers are the same; it takes less memory and about a third
        more time.
    bidirectional
        Let a decoder's tokens attend to later ones. Saved students keep this setting.
    end_token
        Add the end token (eos) after each text. For ``pooling=last``, if the tokenizer does not add it; the tokenizers
        of saved students do.

    Raises
    ------
    ValueError
        A value is out of range, peft or a model's package is not installed, or the folder has no transformer, or
        several.
    """

    def __init__(
        self,
        *,
        model: str,
        revision: str | None = None,
        layers: int | None = None,
        dropout: float | None = None,
        lora: Any = None,
        gradient_checkpointing: bool = False,
        bidirectional: bool = False,
        end_token: bool = False,
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
        self.lora = read_lora(None if lora is False else lora)
        self.adapts_decoders = lora is None
        self.gradient_checkpointing = gradient_checkpointing
        self.bidirectional = bidirectional
        self.end_token = end_token
        self.anew: list[str] = []
        """Parameters of the last built model that the checkpoint lacks."""
        self.labels: list[str] = []
        """Labels of the checkpoint's classifier, if their number differs from that of the last built model."""

    def tokenizer(self, texts: Callable[[], Iterable[str]], folder: Callable[..., Path]) -> TextTokenizer:
        """Load the checkpoint's tokenizer."""
        del texts, folder
        place = hub.described(self.path, self.revision) if hub.is_name(self.path) else None
        lower_case = lower_cases(place or Path(self.path))
        return load_tokenizer(
            tokenizer_folder(self.path), self.revision, lower_case=lower_case, end_token=self.end_token
        )

    @property
    def learning_rate(self) -> float:
        """2e-5, or 1e-4 for the adapters of a decoder."""
        with contextlib.suppress(ConfigError):  # ``model`` raises it
            if (self.adapts_decoders or self.lora) and decoders.is_decoder(self._config()):
                return 1e-4
        return 2e-5

    def _config(self) -> Any:
        import transformers

        with quiet(), clear_errors(self.path):
            return transformers.AutoConfig.from_pretrained(self.path, revision=self.revision, trust_remote_code=False)

    def model(self, tokenizer: TextTokenizer, task: Task, *, trains: bool = True) -> "PreTrainedModel":
        """Load the checkpoint."""
        config = self._config()
        with quiet(), clear_errors(self.path):
            families.check_readable(config, task, self.path)
            if decoders.is_decoder(config):
                decoders.set_up(config, tokenizer.pad_id, bidirectional=self.bidirectional)
            elif self.bidirectional:
                raise ConfigError(f"bidirectional: {self.path!r} is an encoder, which reads both ways; set it to false")
            if self.layers is not None:
                families.cut_layers(config, self.layers, self.path)
            if self.dropout is not None:
                families.set_dropout(config, self.dropout, self.path)
            names = list((config.id2label or {}).values())
            model, info = self._loaded(task, config)
            self.labels = labels.of_checkpoint(model, info, names)
            if task == "difference" and len(self.labels) == 1:  # a saved student, whose labels are already merged
                task = "classifier"
                model, info = self._loaded(task, config)
                self.labels = labels.of_checkpoint(model, info, names)
            if task == "difference":
                labels.check_two(info, self.labels)
        inline = [stanford.LINEAR] if stanford.is_stanford(Path(self.path)) else []  # the student loads it
        self.anew = report(model, info, self.path, self.layers, inline)
        if task == "difference":
            labels.subtract(model)
        if task == "encoder" and getattr(model, "pooler", None) is not None:
            model.pooler = None  # no student uses it, and its parameters would get no gradient
        if task == "mlm" and set(mlm.head_names(model)) <= set(self.anew) and mlm.start_near_identity(model):
            log.info("%s: the new masked-language-model head is initialised near the identity", self.path)
        families.check_tokenizer(model, len(tokenizer.tokenizer), tokenizer.pad_id, self.path)
        if self.bidirectional:
            decoders.check_both_ways(model, self.path)
        return prepared(model, self._adapters(config, trains), self.gradient_checkpointing, self.anew)

    def _adapters(self, config: Any, trains: bool) -> Lora | None:
        """Return the adapters' settings; a decoder in training has adapters unless ``lora=false``."""
        if not (self.adapts_decoders and trains and decoders.is_decoder(config)):
            return self.lora
        try:
            found = read_lora({})
        except ValueError as error:
            raise ConfigError(f"{error}; or set lora=false, which trains all weights of the decoder") from None
        log.info("%s: a decoder, so adapters are trained; backbone.lora=false trains all weights", self.path)
        return found

    def _loaded(self, task: Task, config: Any) -> tuple[Any, dict[str, Any]]:
        """Return the model for a task, and transformers' loading information."""
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
