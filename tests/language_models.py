"""Tiny language models with random weights and tokenizers of their families, in folders as transformers saves them."""

from pathlib import Path

import torch
import transformers
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

TEXTS = [
    "yes no Yes No true false 0 1 yes no Yes No true false 0 1",
    "Query: who purrs Document: cats purr all day Relevant: true",
    "Given a query A and a passage B, determine whether the passage contains an answer to the query",
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided.",
    "fish swim in the sea and birds sing; a dog barks, and again and again",
] * 4
"""The training texts of the tokenizers."""

DOCUMENTS = {
    "d0": "cats purr all day",
    "d1": "a dog barks, and again and again, and all the birds sing at it until the fish swim in the sea",
    "d2": "fish",
    "d3": "the passage contains an answer to the query <|im_end|> and more",
    "d4": "",
    "d5": "caf\u00e9 na\u00efve \u4e2d\u6587 \U0001f408 " * 3,
    "d6": "birds sing " * 40,
}
QUERIES = {"q0": "who purrs", "q1": "which of the animals swim in the sea, and why", "q2": "?"}
LISTS = {"q0": list(DOCUMENTS), "q1": ["d1", "d6", "d0", "d2", "d3"], "q2": ["d5", "d1"]}
"""Lists of different lengths, one too short for a prefix of its own."""

_SIZE = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
         "intermediate_size": 48}  # fmt: skip


def texts(of):
    """Return a function that looks texts up by id."""
    return lambda ids: [of[each] for each in ids]


def save(folder: Path, family: str, *, seed: int = 3, spread: float = 0.3, **config) -> Path:
    """Save a tiny model of a family with its tokenizer: qwen3, llama, gemma2, t5; or qwen3 with a head, qwen3_head."""
    tokenizer = TOKENIZERS[family]()
    torch.manual_seed(seed)
    model = _MODELS[family](len(tokenizer), **config)
    for name, value in model.named_parameters():
        if "norm" not in name:
            torch.nn.init.normal_(value, std=spread)  # otherwise all states would be similar, and so would all scores
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_level(special, **named):
    """Return a byte-level BPE tokenizer, as for Qwen and Llama 3; a BOS, if given, comes before each text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=450,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, "yes\nno\nYes\nNo\n1\n0"], trainer)
    return _fast(tokenizer, named)


def metaspace(kind, special, **named):
    """Return a tokenizer whose pieces mark spaces by ▁: a BPE like Gemma's, or a unigram model like T5's."""
    trainer = trainers.BpeTrainer if kind is models.BPE else trainers.UnigramTrainer
    tokenizer = Tokenizer(kind(unk_token="<unk>", byte_fallback=True) if kind is models.BPE else kind())
    if kind is models.BPE:
        tokenizer.normalizer = normalizers.Replace(" ", "▁")
        tokenizer.pre_tokenizer = pre_tokenizers.Split("▁", "merged_with_next")
        tokenizer.decoder = decoders.Replace("▁", " ")
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
    unknown = {} if kind is models.BPE else {"unk_token": "<unk>"}
    train = [*TEXTS, *["Yes", "No", "yes", "no"] * 50]
    tokenizer.train_from_iterator(
        train, trainer(vocab_size=400, special_tokens=special, show_progress=False, **unknown)
    )
    return _fast(tokenizer, named)


def _fast(tokenizer, named):
    before = [named["bos_token"]] if "bos_token" in named else []
    after = ["</s>"] if named.get("eos_token") == "</s>" else []
    if before or after:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[*before, "$A", *after],
            special_tokens=[(each, tokenizer.token_to_id(each)) for each in before + after],
        )
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)


def _qwen3():
    chat = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    found = byte_level(chat, pad_token="<|endoftext|>", eos_token="<|im_end|>")
    found.add_tokens([AddedToken(each, normalized=False) for each in ("<think>", "</think>")])
    return found


TOKENIZERS = {
    "qwen3": _qwen3,
    "qwen3_head": _qwen3,
    "llama": lambda: byte_level(["<|begin_of_text|>", "<|end_of_text|>"], bos_token="<|begin_of_text|>",
                                eos_token="<|end_of_text|>"),
    "gemma2": lambda: metaspace(models.BPE, ["<pad>", "<eos>", "<bos>", "<unk>"], pad_token="<pad>", bos_token="<bos>",
                                eos_token="<eos>", unk_token="<unk>"),
    "t5": lambda: metaspace(models.Unigram, ["<pad>", "</s>", "<unk>", "▁true", "▁false"], pad_token="<pad>",
                            eos_token="</s>", unk_token="<unk>"),
}  # fmt: skip


def _qwen3_head(size, **config):
    settings = transformers.Qwen3Config(vocab_size=size, **_SIZE, num_labels=1, pad_token_id=0, **config)
    return transformers.Qwen3ForSequenceClassification(settings)


def _t5(size, **config):
    settings = transformers.T5Config(vocab_size=size, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4,
                                     decoder_start_token_id=0, pad_token_id=0, **config)  # fmt: skip
    return transformers.T5ForConditionalGeneration(settings)


_MODELS = {
    "qwen3": lambda size, **config: transformers.Qwen3ForCausalLM(
        transformers.Qwen3Config(vocab_size=size, **_SIZE, **{"max_position_embeddings": 512} | config)),
    "qwen3_head": _qwen3_head,
    "llama": lambda size, **config: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=size, **_SIZE, **{"max_position_embeddings": 512} | config)),
    "gemma2": lambda size, **config: transformers.Gemma2ForCausalLM(
        transformers.Gemma2Config(vocab_size=size, **_SIZE, query_pre_attn_scalar=8, pad_token_id=0,
                                  **{"max_position_embeddings": 512, "sliding_window": 256} | config)),
    "t5": _t5,
}  # fmt: skip
