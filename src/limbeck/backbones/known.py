"""The supported modules and keys of sentence-transformers folders, and how each is used.

Anything else is an error that names file and key, since an ignored key could change every score. Source: the formats of
sentence-transformers 2 to 6.2 and of PyLate 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

TAKEN: Final = "read into an option of the student"
NEUTRAL: Final = "changes no score"


@dataclass(frozen=True)
class Only:
    """Supported only with one of these values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return " or ".join(str(value) for value in self.values)


Rule = str | Only

_NOTHING = Only((None, {}, []))
_REMOTE = Only((None, {}, {"trust_remote_code": True}, {"trust_remote_code": False}))
"""No constructor arguments, except ``trust_remote_code``, which the library ignores here."""

PYLATE: Mapping[str, Rule] = {
    "query_prefix": TAKEN,
    "document_prefix": TAKEN,
    "query_length": TAKEN,
    "document_length": TAKEN,
    "attend_to_expansion_tokens": TAKEN,
    "attend_to_mask_tokens": TAKEN,
    "do_query_expansion": TAKEN,
    "query_expansion": TAKEN,
    "skiplist_words": TAKEN,
}
"""PyLate's keys in ``config_sentence_transformers.json``."""

_ANY: Mapping[str, Rule] = {
    "__version__": NEUTRAL,
    "requirements": NEUTRAL,
    "model_type": TAKEN,
    "prompts": TAKEN,
    "default_prompt_name": TAKEN,
}

FOLDERS: Mapping[str, Mapping[str, Rule]] = {
    "dense": {**_ANY, "similarity_fn_name": TAKEN, "truncate_dim": TAKEN},
    "splade": {**_ANY, "similarity_fn_name": Only((None, "dot")), "max_active_dims": Only((None,))},
    "colbert": {
        **_ANY, **PYLATE,
        # The library ignores names of other similarities, left over from a dense model that was the starting point.
        "similarity_fn_name": Only((None, "maxsim", "MaxSim", "cosine", "dot", "euclidean", "manhattan")),
    },
    "cross_encoder": {**_ANY, "activation_fn": TAKEN, "keep_in_fp32_modules": NEUTRAL},
}  # fmt: skip
"""Student → supported keys of ``config_sentence_transformers.json``."""

TASKS: Mapping[str, tuple[str, str]] = {
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
    "fill-mask": ("logits", "token_embeddings"),
}
"""Task of a Transformer module → the model's output, and the name under which the module passes it on."""

_TRANSFORMER: Mapping[str, Rule] = {
    "max_seq_length": TAKEN,
    "do_lower_case": TAKEN,
    "query_length": TAKEN,
    "document_length": TAKEN,
    "query_expansion": TAKEN,
    "transformer_task": TAKEN,
    "modality_config": TAKEN,
    "module_output_name": TAKEN,
    "unpad_inputs": NEUTRAL,
    "processing_kwargs": _NOTHING,
    "model_args": _REMOTE,
    "model_kwargs": _REMOTE,
    "tokenizer_args": _REMOTE,
    "processor_kwargs": _REMOTE,
    "config_args": _REMOTE,
    "config_kwargs": _REMOTE,
    "tokenizer_name_or_path": Only((None,)),
}

ACTIVATIONS: Mapping[str, str] = {
    "identity": "torch.nn.modules.linear.Identity",
    "tanh": "torch.nn.modules.activation.Tanh",
    "relu": "torch.nn.modules.activation.ReLU",
    "gelu": "torch.nn.modules.activation.GELU",
    "sigmoid": "torch.nn.modules.activation.Sigmoid",
}
"""Activation functions: name in limbeck → class in sentence-transformers folders."""

POOLINGS: Mapping[str, str] = {"mean": "mean", "cls": "cls", "last": "lasttoken"}
"""Poolings: name in limbeck → name in sentence-transformers folders."""

LEGACY_POOLING: Mapping[str, str] = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Key of a Pooling module before version 5.4 → the mode that it turns on."""

_MODEL2VEC = (
    "model_type", "architectures", "tokenizer_name", "apply_pca", "apply_zipf", "sif_coefficient", "hidden_dim",
    "seq_length", "normalize", "max_length", "pooling", "embedding_dtype", "vocabulary_quantization",
)  # fmt: skip
"""Keys of model2vec's ``config.json``, which may lie next to a StaticEmbedding; the module ignores them."""

MODULES: Mapping[str, Mapping[str, Rule]] = {
    "Transformer": _TRANSFORMER,
    "MLMTransformer": _TRANSFORMER,
    "StaticEmbedding": dict.fromkeys(_MODEL2VEC, NEUTRAL),
    "Pooling": {
        "embedding_dimension": NEUTRAL,
        "word_embedding_dimension": NEUTRAL,
        "pooling_mode": TAKEN,
        "include_prompt": TAKEN,
        **dict.fromkeys(LEGACY_POOLING, TAKEN),
    },
    "Dense": {
        "in_features": NEUTRAL,  # the weights have the sizes
        "out_features": NEUTRAL,
        "bias": NEUTRAL,
        "activation_function": TAKEN,
        "module_input_name": TAKEN,
        "module_output_name": TAKEN,
        "use_residual": Only((None, False)),
    },
    "Normalize": {"module_input_name": TAKEN, "module_output_name": TAKEN},
    "SpladePooling": {
        "pooling_strategy": Only(("max",)),
        "activation_function": Only(("relu", "log1p_relu")),
        "embedding_dimension": NEUTRAL,
        "word_embedding_dimension": NEUTRAL,
        "chunk_size": NEUTRAL,
    },
    "SparseStaticEmbedding": {"frozen": TAKEN},
    "MultiVectorMask": {
        "skiplist_words": TAKEN,
        "skiplist_tasks": Only((None, "document", ["document"])),
        "keep_only_token_ids": Only((None, [])),
    },
}
"""Supported module → supported keys of its file."""

ORDER: Mapping[str, Mapping[str, int]] = {
    "dense": {"Transformer": 0, "StaticEmbedding": 0, "Pooling": 1, "Dense": 2, "Normalize": 3},
    "splade": {"Transformer": 0, "MLMTransformer": 0, "SparseStaticEmbedding": 0, "SpladePooling": 1},
    "colbert": {"Transformer": 0, "Dense": 1, "MultiVectorMask": 2, "Normalize": 2},
    "cross_encoder": {"Transformer": 0, "Pooling": 1, "Dense": 2},
}
"""Student → its modules and their required order."""

ROUTER: Mapping[str, Rule] = {"default_route": NEUTRAL, "allow_empty_key": NEUTRAL, "route_mappings": _NOTHING}
"""Supported parameters of a Router; its routes must be query and document."""

LISTED: Mapping[str, Rule] = {
    "idx": NEUTRAL,
    "name": NEUTRAL,
    "path": TAKEN,
    "type": TAKEN,
    "kwargs": Only((None, [], ["task"])),
}
"""Supported keys of an entry of ``modules.json``."""

PACKAGES = ("sentence_transformers", "pylate")
"""Packages of supported modules; a class of the same name in another package may do anything."""


def fault(path: Path, given: Mapping[str, Any], rules: Mapping[str, Rule]) -> str | None:
    """Return a message about the first unsupported key or value of a file; None if there is none."""
    for key, value in given.items():
        rule = rules.get(key)
        if rule is None:
            return f"{path}: the key {key} is not supported, and may change scores; supported: {', '.join(rules)}"
        if isinstance(rule, Only) and value not in rule.values:
            return f"{path}: {key} is {value!r}; {rule} is supported"
    return None
