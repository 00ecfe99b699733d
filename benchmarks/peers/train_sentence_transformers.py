"""Training with sentence-transformers: the trainer, the loss and the data columns that its documentation asks for.

For cross-encoders it has no KL divergence; ``ListNetLoss`` with the teacher's scores as labels is the cross entropy of
the same two distributions, which has the same gradient.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from clock import Clock, Job, job
from datasets import Dataset
from sentence_transformers import (
    CrossEncoder,
    MultiVectorEncoder,
    SentenceTransformer,
    SparseEncoder,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback


class Ticks(TrainerCallback):
    """Hands the ends of steps on to the clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_end(self, *_: object, **__: object) -> None:
        """Tell the end of a step."""
        self._clock.tick()


def in_order(dataset: Any, **options: Any) -> DefaultBatchSampler:
    """Return a sampler of the batches in the order of the file."""
    return DefaultBatchSampler(SequentialSampler(dataset), **options)


def columns(asked: Job) -> Dataset:
    """Return the lists: as one list a row for cross-encoders, as one column a place for the others."""
    with (Path(asked["data"]) / "lists.jsonl").open(encoding="utf-8") as file:
        lists = [json.loads(line) for line in file]
    with (Path(asked["data"]) / "corpus.jsonl").open(encoding="utf-8") as file:
        texts = {each["_id"]: each["text"] for each in map(json.loads, file)}
    rows = []
    for each in lists:
        documents = [texts[document] for document in each["document_ids"]]
        if asked["student"] == "cross_encoder":
            rows.append({"query": each["query"], "documents": documents, "labels": each["scores"]})
        else:
            places = {f"document_{place}": text for place, text in enumerate(documents)}
            rows.append({"query": each["query"], **places, "label": each["scores"]})
    return Dataset.from_list(rows)


def parts(asked: Job) -> tuple[Any, Any, type, type]:
    """Return model, loss, and the classes of trainer and arguments."""
    model, device = asked["model"], asked["device"]
    if asked["student"] == "cross_encoder":
        from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
        from sentence_transformers.cross_encoder.losses import ListNetLoss

        longest = asked["query_length"] + asked["document_length"] + 3
        made = CrossEncoder(model, num_labels=1, max_length=longest, device=device)
        return made, ListNetLoss(made), CrossEncoderTrainer, CrossEncoderTrainingArguments
    if asked["student"] == "dense":
        from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
        from sentence_transformers.sentence_transformer.losses import DistillKLDivLoss
        from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

        modules = [Transformer(model, max_seq_length=asked["document_length"]), Pooling(384, "mean"), Normalize()]
        made = SentenceTransformer(modules=modules, device=device)
        loss = DistillKLDivLoss(made, student_temperature=1 / 20)  # as ours: cosines times 20
        return made, loss, SentenceTransformerTrainer, SentenceTransformerTrainingArguments
    if asked["student"] == "splade":
        from sentence_transformers import SparseEncoderTrainer, SparseEncoderTrainingArguments
        from sentence_transformers.sparse_encoder.losses import SparseDistillKLDivLoss, SpladeLoss
        from sentence_transformers.sparse_encoder.modules import MLMTransformer, SpladePooling

        modules = [MLMTransformer(model, max_seq_length=asked["document_length"]), SpladePooling("max")]
        made = SparseEncoder(modules=modules, device=device)
        weights = {"document_regularizer_weight": asked["flops"], "query_regularizer_weight": asked["flops"]}
        loss = SpladeLoss(made, SparseDistillKLDivLoss(made, temperature=1.0), **weights)
        return made, loss, SparseEncoderTrainer, SparseEncoderTrainingArguments
    from sentence_transformers import MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments
    from sentence_transformers.multi_vector_encoder.losses import MultiVectorDistillKLDivLoss

    made = MultiVectorEncoder(model, device=device)
    made[0].document_length = asked["document_length"]
    made[0].query_expansion = {"strategy": "fixed", "attend": False, "length": asked["query_length"]}
    print(made)
    loss = MultiVectorDistillKLDivLoss(made)
    return made, loss, MultiVectorEncoderTrainer, MultiVectorEncoderTrainingArguments


def main() -> None:
    """Train."""
    asked = job()
    torch.set_num_threads(asked["threads"])
    torch.manual_seed(1)
    model, loss, trainer, arguments = parts(asked)
    cuda = asked["device"] == "cuda"
    clock = Clock(asked, torch.cuda.synchronize if cuda else lambda: None)
    with tempfile.TemporaryDirectory() as folder:
        given = arguments(
            output_dir=folder,
            max_steps=asked["warmup"] + asked["steps"],
            per_device_train_batch_size=asked["batch"],
            batch_sampler=in_order,
            learning_rate=2e-5,
            bf16=asked["precision"] == "bf16-mixed",
            use_cpu=not cuda,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        made = trainer(model=model, args=given, train_dataset=columns(asked), loss=loss, callbacks=[Ticks(clock)])
        made.train()
    assert model.training, "dropout was off"
    gpu = torch.cuda.max_memory_allocated() / 1e6 if cuda else None
    clock.tell(asked["batch"] * asked["steps"], gpu=gpu)


if __name__ == "__main__":
    main()
