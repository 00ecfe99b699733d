"""Training with Lightning IR, as its documentation shows it for Python: module, run data set, data module, trainer."""

import tempfile
from pathlib import Path

import torch
from clock import Clock, Job, job
from lightning.pytorch import Callback, Trainer
from lightning_ir import (
    BiEncoderModule,
    CrossEncoderModule,
    FLOPSRegularization,
    KLDivergence,
    LightningIRDataModule,
    LightningIRModule,
    RunDataset,
)
from lightning_ir.models import ColConfig, DprConfig, MonoConfig, SpladeConfig


class Ticks(Callback):
    """Hands the ends of steps on to the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_train_batch_end(self, *_: object) -> None:
        """Tell the end of a step."""
        self._clock.tick()


def module(asked: Job) -> LightningIRModule:
    """Return the student; similarities and poolings are those of ours."""
    lengths = {"query_length": asked["query_length"], "doc_length": asked["document_length"]}
    if asked["student"] == "cross_encoder":
        config = MonoConfig(**lengths, pooling_strategy="mean", linear_bias=True)
        return CrossEncoderModule(asked["model"], config, loss_functions=[KLDivergence()])
    losses: list[object] = [KLDivergence()]
    if asked["student"] == "dense":
        pooling = {"query_pooling_strategy": "mean", "doc_pooling_strategy": "mean"}
        config = DprConfig(**lengths, **pooling, similarity_function="cosine", projection=None)
    elif asked["student"] == "splade":
        config = SpladeConfig(**lengths)
        losses.append(FLOPSRegularization(asked["flops"], asked["flops"]))
    else:
        config = ColConfig(
            **lengths,
            normalization_strategy="l2",
            add_marker_tokens=True,
            query_expansion=True,
            doc_mask_scoring_tokens="punctuation",
            embedding_dim=asked["dimension"],
            projection="linear_no_bias",
        )
    return BiEncoderModule(asked["model"], config, loss_functions=losses)


def main() -> None:
    """Train."""
    asked = job()
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(1)
    made = module(asked)
    made.set_optimizer(torch.optim.AdamW, lr=2e-5)
    data = LightningIRDataModule(
        train_dataset=RunDataset(Path(asked["data"]) / "lightning_ir.jsonl", targets="score"),
        train_batch_size=asked["batch"],
        shuffle_train=False,  # the lists lie in the order in which all programs take them
    )
    cuda = asked["device"] == "cuda"
    clock = Clock(asked, torch.cuda.synchronize if cuda else lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="gpu" if cuda else "cpu",
            devices=1,
            precision=asked["precision"],
            max_steps=asked["warmup"] + asked["steps"],
            gradient_clip_val=1.0,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=folder,
            callbacks=[Ticks(clock)],
        )
        trainer.fit(made, data)
    assert made.model.training, "dropout was off"
    gpu = torch.cuda.max_memory_allocated() / 1e6 if cuda else None
    clock.tell(asked["batch"] * asked["steps"], gpu=gpu)


if __name__ == "__main__":
    main()
