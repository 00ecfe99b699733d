"""Forward and backward of every loss on (B, L) scores: a ratio to a bare log_softmax + kl_div, a share of a step.

Everything is timed in turn in one process, round after round, so that a busy machine slows all alike. The ratio is the
median of the ratios within a round. The step is a training step of an encoder of MiniLM's size (6 layers of 384, random
weights) on lists of 64-token documents, timed on fewer queries; the share is that of the loss on as many scores.
``python benchmarks/losses.py`` prints both; ``--check`` fails if CKL takes 1 % of a step or more.
"""

import argparse
import importlib
import inspect
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F

from limbeck.config import entries
from limbeck.processes import end_with_parent

LIMIT = 0.01
"""What CKL may take of a training step."""
CALLS = 20
"""Calls of one loss in a round."""


def world(queries: int, candidates: int, device: torch.device) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.zeros(queries, candidates)
    labels[:, 0] = 1
    mask = torch.ones(queries, candidates, dtype=torch.bool)
    mask[::4, candidates * 3 // 4 :] = False
    made = {
        "student": torch.randn(queries, candidates, generator=generator),
        "teacher": torch.randn(queries, candidates, generator=generator) * 3,
        "labels": labels,
        "mask": mask,
        "ranks": (torch.rand(queries, candidates, generator=generator).argsort(-1) + 1).float(),
    }
    return {name: value.to(device) for name, value in made.items()}


def bare(student: torch.Tensor, teacher: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    """Plain PyTorch, as its documentation writes it: no mask, no temperature."""
    return F.kl_div(F.log_softmax(student, -1), F.softmax(teacher, -1), reduction="batchmean")


def bare_log_target(student: torch.Tensor, teacher: torch.Tensor, *_: torch.Tensor) -> torch.Tensor:
    return F.kl_div(F.log_softmax(student, -1), F.log_softmax(teacher, -1), log_target=True, reduction="batchmean")


def bare_masked(student: torch.Tensor, teacher: torch.Tensor, _: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Keep padding out of the bare divergence, as any use in training must."""
    log_q, log_p = (F.log_softmax(scores.masked_fill(~mask, -1e30), -1) for scores in (student, teacher))
    return F.kl_div(log_q, log_p, log_target=True, reduction="none").masked_fill(~mask, 0.0).sum() / len(mask)


def candidates_for(data: dict[str, torch.Tensor]) -> dict[str, Callable[[], None]]:
    functions: dict[str, Callable[..., torch.Tensor]] = {
        "bare": bare,
        "bare, log_target": bare_log_target,
        "bare, masked": bare_masked,
    }
    for kind, name in entries():
        function = getattr(importlib.import_module(f"limbeck.losses.{name}"), name) if kind == "loss" else None
        if function is not None and "student" in inspect.signature(function).parameters:
            functions[name] = function

    def timed(function: Callable[..., torch.Tensor]) -> Callable[[], None]:
        rest = [data["teacher"], data["labels"], data["mask"]]
        if "ranks" in inspect.signature(function).parameters:
            rest.append(data["ranks"])

        def call() -> None:
            data["student"].grad = None
            function(data["student"], *rest).mean().backward()

        return call

    data["student"].requires_grad_()
    return {name: timed(function) for name, function in functions.items()}


def measure(calls: dict[str, Callable[[], None]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in calls}
    torch.empty(4_000_000)  # as in any training, megabytes were freed before: glibc then keeps what is freed
    for turn in range(rounds + 3):
        for name, call in calls.items():
            call()  # so that none pays for the memory and caches that the one before it has left
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            if device.type == "cuda":
                torch.cuda.synchronize()
            if turn >= 3:
                times[name].append((time.perf_counter() - start) / CALLS)
    return times


def training_step(queries: int, candidates: int, device: torch.device) -> Callable[[], None]:
    """Return what encodes, scores by inner products, takes the bare divergence, and updates."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(1)
    shape = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    encoder = BertModel(BertConfig(**shape), add_pooling_layer=False).to(device).train()
    optimiser = torch.optim.AdamW(encoder.parameters())
    texts = [torch.randint(30_000, size, device=device) for size in ((queries, 16), (queries * candidates, 64))]
    teacher = torch.randn(queries, candidates, device=device)

    def step() -> None:
        of_queries, of_documents = (encoder(input_ids=ids).last_hidden_state[:, 0] for ids in texts)
        scores = (of_queries.unsqueeze(1) * of_documents.view(queries, candidates, -1)).sum(-1)
        bare(scores, teacher).backward()
        optimiser.step()
        optimiser.zero_grad()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return step


def share_of_step(queries: int, candidates: int, device: torch.device, rounds: int) -> tuple[float, float]:
    """Return the seconds of CKL and of a training step on the same lists, medians of rounds that take turns."""
    calls = {"ckl": candidates_for(world(queries, candidates, device))["ckl"]}
    step = training_step(queries, candidates, device)
    step()
    of_loss, of_step = [], []
    for _ in range(rounds):
        of_loss.append(statistics.median(measure(calls, 1, device)["ckl"]))
        start = time.perf_counter()
        step()
        of_step.append(time.perf_counter() - start)
    return statistics.median(of_loss), statistics.median(of_step)


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--queries", type=int, default=512)
    parser.add_argument("--candidates", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--step-queries", type=int, default=8, help="of the training step")
    parser.add_argument("--step-candidates", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="*", help="losses to time; all if absent")
    parser.add_argument("--check", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    device = torch.device(asked.device)
    calls = candidates_for(world(asked.queries, asked.candidates, device))
    if asked.only:
        calls = {name: call for name, call in calls.items() if name.startswith("bare") or name in asked.only}
    times = measure(calls, asked.rounds, device)
    print(f"B={asked.queries} L={asked.candidates} {device} threads={asked.threads} torch {torch.__version__}\n")
    print("| loss | µs | ratio |\n|---|---:|---:|")
    ratios = {}
    for name, values in times.items():
        ratios[name] = statistics.median(value / bare for value, bare in zip(values, times["bare"], strict=True))
        print(f"| {name} | {statistics.median(values) * 1e6:.0f} | {ratios[name]:.2f} |")
    of_loss, of_step = share_of_step(asked.step_queries, asked.step_candidates, device, asked.steps)
    share = of_loss / of_step
    print(
        f"\nCKL on {asked.step_queries} queries with {asked.step_candidates} candidates: {of_loss * 1e6:.0f} µs, "
        f"{share:.3%} of a training step of {of_step * 1e3:.0f} ms"
    )
    if asked.check and share >= LIMIT:
        raise SystemExit(f"ckl takes {share:.2%} of a training step, limit {LIMIT:.0%}")


if __name__ == "__main__":
    main()
