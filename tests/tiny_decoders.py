"""Small decoders of several families with random weights, and the tokenizers of their checkpoints."""

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from limbeck.text.collate import Collator, Example

QUERIES = {"q0": "purring cats", "q1": "who swims, and where?", "q2": "a dog that barks at night - loudly"}
DOCUMENTS = {
    "d0": "cats purr",
    "d1": "fish swim in the sea; dogs bark, and a cat (small) purrs!",
    "d2": "a long night " * 20,
    "d3": "where dogs who bark swim loudly at sea",
    "d4": "night",
}
TEXTS = QUERIES | DOCUMENTS
LENGTHS = {"query_length": 14, "document_length": 20}

SPECIAL = ["<|start|>", "<|end|>", "<|pad|>"]
START, END, PAD = range(3)
SHAPE = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8,
    "intermediate_size": 24, "max_position_embeddings": 128,
}  # fmt: skip
WINDOW = {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention"]}
FAMILIES = {
    "Qwen3": SHAPE,
    "Llama": SHAPE | {"num_key_value_heads": 2},
    "Gemma2": SHAPE | WINDOW,
    "Gemma3Text": SHAPE | WINDOW,
}
"""Heads share keys except in Llama; Gemma's attention has a window shorter than the texts."""

ETTIN = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "max_position_embeddings": 128, "local_attention": 12, "global_attn_every_n_layers": 2,
    "cls_token_id": START, "sep_token_id": END, "pad_token_id": PAD,
}  # fmt: skip

FRAMES = {"Qwen3": ([], [END]), "ModernBertDecoder": ([START], [END])}
"""Special tokens around a text; the others put a start token before it."""


def frame(family):
    """Return the special tokens before and after a text."""
    return FRAMES.get(family, ([START], []))


def tokenizer(family):
    """Train a tokenizer. Qwen3-Embedding pads on the left, with its end token; Llama has no padding token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        TEXTS.values(),
        trainers.BpeTrainer(vocab_size=320, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False),
    )
    before, after = ([SPECIAL[token] for token in each] for each in frame(family))
    made.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=False),
        processors.TemplateProcessing(
            single=[*before, "$A", *after], pair=[*before, "$A", "$B", *after],
            special_tokens=[(token, number) for number, token in enumerate(SPECIAL)],
        ),
    ])  # fmt: skip
    pad = {"Qwen3": {"pad_token": "<|end|>", "padding_side": "left"}, "Llama": {}}.get(family, {"pad_token": "<|pad|>"})
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, bos_token="<|start|>", eos_token="<|end|>", **pad
    )


def write(family, folder, kind="ForCausalLM", **changed):
    """Save a model of a family with random weights, large enough to distinguish texts, without a padding token."""
    words = tokenizer(family)
    torch.manual_seed(0)
    ids = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": None}
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(words), **{**ids, **FAMILIES.get(family, ETTIN), **changed}
    )
    name = "Gemma3" if (family, kind) == ("Gemma3Text", "ForCausalLM") else family
    model = getattr(transformers, name + kind)(config)
    for name, parameter in model.named_parameters():
        if "norm" not in name:
            parameter.data.mul_(5)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def collator_of(student, words):
    """Return a collator over QUERIES and DOCUMENTS, by their ids."""
    return Collator(words, student.style, look_up, look_up)


def look_up(ids):
    return [TEXTS[name] for name in ids]


def examples():
    """Return one list per query, with all documents."""
    labels = [1.0] + [0.0] * (len(DOCUMENTS) - 1)
    return [Example(query, list(DOCUMENTS), labels, [float(len(name)) for name in DOCUMENTS]) for query in QUERIES]


def scores_of(student, collator):
    """Return all scores of QUERIES and DOCUMENTS as limbeck computes them in one batch, (B, N)."""
    with torch.no_grad():
        return student.eval()(collator(examples())).scores
