"""Where the time of a training step goes: stopwatches on the parts of the step, and the operators behind them."""

import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ours
from clock import Job

OPERATORS = 12


class Watch:
    """Time by part: that of a part inside another counts for the inner one alone.

    Parameters
    ----------
    wait
        Waits for the device, so that its work counts where it was asked for.
    """

    def __init__(self, wait: Callable[[], object]) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self._wait = wait
        self._open: list[str] = ["rest: Lightning, hooks, moving batches"]
        self._since = time.perf_counter()

    def reset(self) -> None:
        """Begin anew."""
        self._switch()
        self.seconds.clear()

    def stop(self) -> dict[str, float]:
        """Return the seconds so far."""
        self._switch()
        return dict(self.seconds)

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Count what happens inside for a part."""
        self._switch()
        self._open.append(name)
        try:
            yield
        finally:
            self._switch()
            self._open.pop()

    def on(self, owner: Any, method: str, name: str) -> None:
        """Count the calls of a method for a part."""
        plain = getattr(owner, method)

        def timed(*given: Any, **named: Any) -> Any:
            with self.part(name):
                return plain(*given, **named)

        setattr(owner, method, timed)

    def _switch(self) -> None:
        self._wait()
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._since
        self._since = now


def profile(asked: Job, peak: float | None) -> None:
    """Train a job's steps under stopwatches, again under PyTorch's profiler, and print both.

    Parameters
    ----------
    asked
        The job.
    peak
        Peak FLOP/s of the device; None looks it up by its name.
    """
    import torch

    cuda = asked["device"] == "cuda"
    seconds, counted = _parts(asked, torch.cuda.synchronize if cuda else lambda: None)
    whole = sum(seconds.values())
    print(f"### {asked['student']}, {asked['layers']} layers, {asked['loss']}, {asked['setting']}, {asked['device']}\n")
    print("| part | ms a step | share |\n|---|---:|---:|")
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        print(f"| {name} | {value / asked['steps'] * 1000:.1f} | {value / whole:.1%} |")
    rate = counted["flops"] / whole
    print(
        f"\n{asked['steps'] * asked['batch'] / whole:.2f} queries/s, {counted['documents'] / whole:.1f} documents/s, "
        f"{counted['tokens'] / whole:,.0f} tokens/s without padding, {rate / 1e9:,.0f} GFLOP/s of the model"
    )
    if cuda:
        _device(rate, peak, asked["precision"])
    _operators(asked)


def _parts(asked: Job, wait: Callable[[], object]) -> tuple[dict[str, float], dict[str, float]]:
    """Return seconds by part of the steps that count, and what these have worked on."""
    import torch
    from lightning.pytorch.callbacks import Callback

    torch.set_num_threads(asked["threads"])
    watch, counted = Watch(wait), {"documents": 0, "tokens": 0, "flops": 0.0}
    found: dict[str, float] = {}

    class Watching(Callback):
        def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, number: int) -> None:
            if number >= asked["warmup"]:
                count(counted, module.student.backbone, batch)

        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
            if number + 1 == asked["warmup"]:
                watch.reset()
            if number + 1 == asked["warmup"] + asked["steps"]:
                found.update(watch.stop())

    with tempfile.TemporaryDirectory() as folder:
        made = ours.training(asked, Path(folder), {"watching": Watching()})
        module = made.module
        watch.on(module.student, "forward", "forward")
        watch.on(module.objective, "forward", "loss")
        watch.on(module, "backward", "backward")
        watch.on(module, "configure_gradient_clipping", "clipping")
        watch.on(module, "optimizer_step", "optimiser")
        watch.on(module, "training_step", "rest of the training step")
        watch.on(module, "log", "logging")
        _loader(watch, made.data)
        made.run()
    return found, counted


def _loader(watch: Watch, data: Any) -> None:
    """Count the time in which a loader is waited for."""
    plain = data.train_dataloader

    def timed() -> Any:
        loader = plain()
        iterate = type(loader).__iter__

        class Waited(type(loader)):  # an iteration is looked up on the class
            def __iter__(self) -> Iterator[Any]:
                batches = iterate(self)
                while True:
                    with watch.part("waiting for data"):
                        batch = next(batches, None)
                    if batch is None:
                        return
                    yield batch

        loader.__class__ = Waited
        return loader

    data.train_dataloader = timed


def count(counted: dict[str, float], backbone: Any, batch: Any) -> None:
    """Add up the documents, real tokens and FLOPs of a batch."""
    from limbeck.training.utilisation import flops, real_tokens

    lengths = real_tokens(batch)
    counted["tokens"] += sum(lengths)
    counted["flops"] += flops(backbone.config, lengths)
    counted["documents"] += int(batch.mask.sum())


def _device(rate: float, peak: float | None, precision: str) -> None:
    import torch

    from limbeck.training import utilisation

    name = torch.cuda.get_device_name()
    peak = peak or utilisation.peak(name, precision)
    used = f", {rate / peak:.1%} of {peak / 1e12:g} TFLOP/s (assumed peak)" if peak else "; give --peak for the share"
    print(f"{name}: {torch.cuda.max_memory_allocated() / 1e6:,.0f} MB at most{used}")


def _operators(asked: Job) -> None:
    """Print the operators that take longest by themselves."""
    import torch
    from lightning.pytorch.callbacks import Callback
    from torch.profiler import ProfilerActivity

    cuda = asked["device"] == "cuda"
    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    recorder = torch.profiler.profile(activities=kinds)

    class Recording(Callback):
        def on_train_batch_end(self, trainer: Any, module: Any, outputs: Any, batch: Any, number: int) -> None:
            if number + 1 == asked["warmup"]:
                recorder.start()
            if number + 1 == asked["warmup"] + asked["steps"]:
                recorder.stop()

    with tempfile.TemporaryDirectory() as folder:
        ours.training(asked, Path(folder), {"recording": Recording()}).run()
    field = "self_device_time_total" if cuda else "self_cpu_time_total"
    events = sorted(recorder.key_averages(), key=lambda event: -getattr(event, field))
    whole = sum(getattr(event, field) for event in events)
    print("\n| operator | calls a step | ms a step | share |\n|---|---:|---:|---:|")
    for event in events[:OPERATORS]:
        own = getattr(event, field)
        calls, milliseconds = event.count / asked["steps"], own / asked["steps"] / 1000
        print(f"| {event.key} | {calls:.0f} | {milliseconds:.1f} | {own / whole:.1%} |")
    print()
