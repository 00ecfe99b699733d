"""Pairs/s of ``teacher=causal_lm`` beside plain batched transformers: what it is worth to read a prefix once.

    python benchmarks/llm.py          float32: about 2 minutes of one thread

A decoder of 54 M parameters (Qwen3's layers, random weights), prompts of about 100 tokens of instruction and query, and
documents of about 100 tokens. *Plain* pads each list on the left into one batch, without a cache, and computes the
logits of the last position alone: what the model cards' code does. *Without a prefix* is ours, each prompt read whole,
in batches of like length. All do the same lists in turn, round after round, and their scores are compared. Time is that
of the processor, which others on the machine do not lengthen as they do that of a clock.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

from limbeck.backbones.sources import quiet
from limbeck.processes import end_with_parent
from limbeck.teachers.causal_lm import CausalLMTeacher

WORDS = 32_000
PREFIX, DOCUMENT = 100, (50, 150)
"""Tokens before a document; fewest and most of a document."""
TOLERANCE = 1e-3
PROMPT = {"name": "benchmark", "segments": ["{query} {document} w2"], "positive": "w0", "negative": "w1"}

Lists = dict[str, list[str]]


def save(folder: Path, *, layers: int, width: int) -> None:
    """Save the decoder, and a tokenizer with a token a word."""
    tokenizer = Tokenizer(models.WordLevel({f"w{i}": i for i in range(WORDS)}, unk_token="w3"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="w4").save_pretrained(folder)
    heads = width // 64
    config = transformers.Qwen3Config(
        vocab_size=WORDS, hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads, head_dim=64,
        num_key_value_heads=max(1, heads // 2), intermediate_size=3 * width, max_position_embeddings=1024,
        tie_word_embeddings=True,
    )  # fmt: skip
    torch.manual_seed(1)
    transformers.Qwen3ForCausalLM(config).save_pretrained(folder)


def texts(count: int, candidates: int) -> tuple[dict[str, str], dict[str, str], Lists]:
    """Return queries with their instruction, documents, and lists."""
    rng = random.Random(2)

    def words(length: int) -> str:
        return " ".join(f"w{rng.randrange(5, WORDS)}" for _ in range(length))

    instruction = words(PREFIX - 12)
    queries = {f"q{i}": f"{instruction} {words(12)}" for i in range(count)}
    documents = {f"d{i}": words(rng.randint(*DOCUMENT)) for i in range(count * candidates)}
    ids = list(documents)
    return queries, documents, {q: ids[i * candidates : (i + 1) * candidates] for i, q in enumerate(queries)}


def plain(folder: Path, queries: dict[str, str], documents: dict[str, str], lists: Lists) -> Callable[[], torch.Tensor]:
    """Return what scores the lists with transformers alone."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()

    @torch.inference_mode()
    def score() -> torch.Tensor:
        found = []
        for query, ids in lists.items():
            prompts = [f"{queries[query]} {documents[document]} w2" for document in ids]
            batch = tokenizer(prompts, padding=True, return_tensors="pt", return_token_type_ids=False)
            logits = model(**batch, use_cache=False, logits_to_keep=1).logits[:, -1]
            found.append(logits[:, 0] - logits[:, 1])
        return torch.cat(found)

    return score


def main() -> None:
    """Measure, and print a table."""
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lists", type=int, default=1)
    parser.add_argument("--candidates", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--width", type=int, default=512)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    queries, documents, lists = texts(asked.lists, asked.candidates)
    with tempfile.TemporaryDirectory() as place, quiet():
        folder = Path(place)
        save(folder, layers=asked.layers, width=asked.width)

        def ours(*, prefix_cache: bool) -> Callable[[], torch.Tensor]:
            teacher = CausalLMTeacher(
                lambda ids: [queries[each] for each in ids],
                lambda ids: [documents[each] for each in ids],
                torch.device("cpu"), model=str(folder), prompt=PROMPT, prefix_cache=prefix_cache,
            )  # fmt: skip
            assert teacher.reuses_prefixes == prefix_cache
            return lambda: torch.cat([torch.from_numpy(s) for s in teacher.score(list(lists), list(lists.values()))])

        programs = {
            "plain": plain(folder, queries, documents, lists),
            "ours, without a prefix": ours(prefix_cache=False),
            "ours": ours(prefix_cache=True),
        }
        seconds: dict[str, list[float]] = {name: [] for name in programs}
        scores: dict[str, torch.Tensor] = {}
        for _ in range(asked.rounds):
            for name, score in programs.items():
                start = time.process_time()
                scores[name] = score()
                seconds[name].append(time.process_time() - start)
    for name, found in scores.items():
        worst = float((found - scores["plain"]).abs().max())
        assert worst < TOLERANCE, f"{name} differs by {worst}"
    pairs = asked.lists * asked.candidates
    print("| program | pairs | pairs/s | over plain | lowest |\n|---|---|---|---|---|")
    for name, each in seconds.items():
        ratios = [there / here for there, here in zip(seconds["plain"], each, strict=True)]
        rate = pairs / statistics.median(each)
        print(f"| {name} | {pairs} | {rate:.2f} | {statistics.median(ratios):.2f} | {min(ratios):.2f} |")


if __name__ == "__main__":
    main()
