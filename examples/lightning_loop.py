"""A re-ranker by CKL in a LightningModule of your own: python THIS_FILE [MODEL]."""

import sys

import lightning
import torch
from torch.utils.data import DataLoader
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from limbeck.losses import ckl

LISTS = [  # query, documents, the teacher's raw scores, relevance, ranks in the first stage
    ("who purrs", ["dogs bark", "cats purr", "fish swim"], [-1.5, 8.25, -7.0], [0, 1, 0], [2, 1, 3]),
    ("who lives in the sea", ["sea fish", "whales swim", "cats purr"], [5.5, 7.75, -8.5], [1, 1, 0], [1, 2, 3]),
]


class Distillation(lightning.LightningModule):
    def __init__(self, model: str) -> None:
        super().__init__()
        self.tokenizer = AutoTokenizer.from_pretrained(model)
        self.student = AutoModelForSequenceClassification.from_pretrained(model, num_labels=1)

    def training_step(self, batch: list[tuple], _: int) -> torch.Tensor:
        pairs = [(query, text) for query, texts, *_ in batch for text in texts]
        tokens = self.tokenizer(pairs, padding=True, truncation=True, return_tensors="pt").to(self.device)
        teacher, labels, ranks = (torch.tensor([row[i] for row in batch], device=self.device) for i in (2, 3, 4))
        mask = torch.ones_like(teacher, dtype=torch.bool)  # False for padding, where lists differ in length
        return ckl(self.student(**tokens).logits.view(teacher.shape), teacher, labels, mask, ranks, gamma=5.0).mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=2e-5)


if __name__ == "__main__":
    module = Distillation(*sys.argv[1:] or ["cross-encoder/ms-marco-MiniLM-L6-v2"])
    trainer = lightning.Trainer(max_epochs=10, logger=False, enable_checkpointing=False)
    trainer.fit(module, DataLoader(LISTS, batch_size=2, collate_fn=list))
    module.student.save_pretrained("trained")
