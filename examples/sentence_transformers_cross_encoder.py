"""A re-ranker by CKL in the trainer of sentence-transformers: python THIS_FILE [MODEL]."""

import sys

import torch
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments

from limbeck.integrations.sentence_transformers import DistillationLoss, ListColumns

LISTS = {
    "query": ["who purrs", "who lives in the sea"],
    "documents": [["dogs bark", "cats purr"], ["sea fish", "whales swim in the sea", "cats purr"]],
    "scores": [[-1.5, 8.25], [5.5, 7.75, -8.5]],  # raw scores of the teacher
    "labels": [[0, 1], [1, 1, 0]],  # relevance; there may be several positives
    "ranks": [[2, 1], [1, 2, 3]],  # of the documents in the first stage
}

(name,) = sys.argv[1:] or ["cross-encoder/ms-marco-MiniLM-L6-v2"]
# Identity: predict() gives the logits that are trained. Its default is a sigmoid, in which high scores tie.
student = CrossEncoder(name, num_labels=1, activation_fn=torch.nn.Identity())
data = Dataset.from_dict(LISTS)
data.set_transform(ListColumns(output_format="lists"))
loss = DistillationLoss(student, "ckl", gamma=5)
args = CrossEncoderTrainingArguments("trained", num_train_epochs=10, learning_rate=2e-5, report_to="none")
CrossEncoderTrainer(model=student, args=args, train_dataset=data, loss=loss).train()
student.save("trained")
