"""A dense student by CKL in the trainer of sentence-transformers: python THIS_FILE [MODEL]."""

import sys

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)

from limbeck.integrations.sentence_transformers import DistillationLoss, ListColumns

LISTS = {
    "query": ["who purrs", "who lives in the sea"],
    "documents": [["dogs bark", "cats purr", "fish swim"], ["sea fish", "whales swim in the sea", "cats purr"]],
    "scores": [[-1.5, 8.25, -7.0], [5.5, 7.75, -8.5]],  # raw scores of the teacher
    "labels": [[0, 1, 0], [1, 1, 0]],  # relevance; there may be several positives
    "ranks": [[2, 1, 3], [1, 2, 3]],  # of the documents in the first stage
}

(name,) = sys.argv[1:] or ["sentence-transformers/all-MiniLM-L6-v2"]
student = SentenceTransformer(name)
data = Dataset.from_dict(LISTS)
data.set_transform(ListColumns())
loss = DistillationLoss(student, "ckl", gamma=5, scale=20)  # cosines, times 20
args = SentenceTransformerTrainingArguments("trained", num_train_epochs=10, learning_rate=2e-5, report_to="none")
SentenceTransformerTrainer(model=student, args=args, train_dataset=data, loss=loss).train()
student.save("trained")
