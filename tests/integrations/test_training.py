"""CKL in the trainers of sentence-transformers is CKL in limbeck: the same losses and scores, step for step."""

import gc

import lightning
import pytest
import torch
from datasets import Dataset
from sentence_transformers import (
    CrossEncoder,
    MultiVectorEncoder,
    SentenceTransformer,
    SparseEncoder,
    cross_encoder,
    multi_vector_encoder,
    sentence_transformer,
    sparse_encoder,
)
from sentence_transformers.base.sampler import DefaultBatchSampler
from tests.integrations.conftest import lists
from torch.utils.data import DataLoader, SequentialSampler

from limbeck.integrations.sentence_transformers import DistillationLoss, ListColumns
from limbeck.losses import ckl
from limbeck.losses.term import Term
from limbeck.text.collate import Collator, Example
from limbeck.training.module import Distillation
from limbeck.training.objective import Objective
from limbeck.training.optim import AdamW

STEPS, BATCH, WIDTH = 20, 4, 4
CKL = {"gamma": 3.0, "alpha": 1.5}
TRAINERS = {
    SentenceTransformer: (
        sentence_transformer.SentenceTransformerTrainer,
        sentence_transformer.SentenceTransformerTrainingArguments,
    ),
    SparseEncoder: (sparse_encoder.SparseEncoderTrainer, sparse_encoder.SparseEncoderTrainingArguments),
    MultiVectorEncoder: (
        multi_vector_encoder.MultiVectorEncoderTrainer,
        multi_vector_encoder.MultiVectorEncoderTrainingArguments,
    ),
    CrossEncoder: (cross_encoder.CrossEncoderTrainer, cross_encoder.CrossEncoderTrainingArguments),
}


def optimiser():
    return AdamW(lr=1e-3, warmup=5)


def by_limbeck(student, collator, data):
    """Train, and return the losses of the steps and the scores of all lists."""
    texts = [text for row in data["documents"] for text in row]
    its = Collator(
        collator.tokenizer,
        student.style,
        lambda ids: [data["query"][int(each)] for each in ids],
        lambda ids: [texts[int(each)] for each in ids],
    )
    examples = [
        Example(
            str(row), [str(row * WIDTH + place) for place in range(WIDTH)],
            *(data[name][row] for name in ("labels", "scores", "ranks")),
        )
        for row in range(len(data["query"]))
    ]  # fmt: skip
    batches = [its(examples[start : start + BATCH]) for start in range(0, len(examples), BATCH)]
    module = Distillation(student, Objective({"ckl": Term(ckl, **CKL)}), optimiser(), STEPS, seed=1)
    losses = []

    class Note(lightning.Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item())

    lightning.Trainer(
        max_steps=STEPS, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, gradient_clip_val=1.0, log_every_n_steps=1000, callbacks=[Note()],
    ).fit(module, DataLoader(batches, batch_size=None))  # fmt: skip
    with torch.inference_mode():
        return torch.tensor(losses), torch.cat([student.eval()(batch).scores for batch in batches])


def by_the_library(model, data, folder, **options):
    """Train, and return the losses of the steps and the scores of all lists."""
    loss, losses = DistillationLoss(model, "ckl", **CKL, **options), []
    loss.register_forward_hook(lambda _, __, value: losses.append(value.item()))
    rows = Dataset.from_dict(data)
    rows.set_transform(ListColumns("lists" if isinstance(model, CrossEncoder) else "columns"))
    trainer, arguments = TRAINERS[type(model)]
    args = arguments(
        output_dir=str(folder), max_steps=STEPS, per_device_train_batch_size=BATCH, max_grad_norm=1.0, use_cpu=True,
        batch_sampler=lambda dataset, **given: DefaultBatchSampler(SequentialSampler(dataset), **given),
        report_to="none", save_strategy="no", disable_tqdm=True, prompts=prompts(model),
    )  # fmt: skip
    made = optimiser().configure(model, STEPS)
    pair = (made["optimizer"], made["lr_scheduler"]["scheduler"])
    trainer(model=model, args=args, train_dataset=rows, loss=loss, optimizers=pair).train()
    return torch.tensor(losses), torch.stack(
        [scores(model, *each) for each in zip(data["query"], data["documents"], strict=True)]
    )


def prompts(model):
    """The prompts of a bi-encoder by column: the trainers do not look at those of the model."""
    if isinstance(model, CrossEncoder):
        return None
    columns = {f"document_{place + 1}": model.prompts["document"] for place in range(WIDTH)}
    return {"query": model.prompts["query"], **columns}


def scores(model, query, documents):
    if isinstance(model, CrossEncoder):
        pairs = [(query, document) for document in documents]
        return torch.from_numpy(model.predict(pairs, activation_fn=torch.nn.Identity()))
    found = model.similarity(model.encode_query([query]), model.encode_document(documents))
    return found.squeeze(0)


@pytest.fixture(autouse=True)
def _frozen():
    """Exclude all objects that exist from the collections of garbage that accelerate asks for."""
    gc.freeze()


@pytest.mark.parametrize("name", ["dense-cosine", "splade", "colbert", "cross-encoder-head"])
def test_ckl_is_limbecks_step_for_step(name, model, tmp_path):
    student, collator, loaded = model(name)
    if name == "cross-encoder-head":
        # Rounding alone moves the bias: CKL does not depend on it, and Adam makes steps of full size of any gradient.
        student.backbone.classifier.bias.requires_grad_(False)
        loaded.model.classifier.bias.requires_grad_(False)
    data = lists(5 * BATCH, WIDTH)
    scale = getattr(student, "scale", 1.0)
    losses, found = by_the_library(loaded, data, tmp_path / "trainer", scale=scale)
    expected_losses, expected = by_limbeck(student, collator, data)
    assert len(losses) == STEPS
    assert losses[-5:].mean() < losses[:5].mean() - 0.05  # something was learned
    torch.testing.assert_close(losses, expected_losses, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(scale * found, expected, atol=1e-5, rtol=1e-5)
