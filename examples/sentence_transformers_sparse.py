"""SPLADE by CKL and FLOPS in the trainer of sentence-transformers: python THIS_FILE [MODEL]."""

import sys

from datasets import Dataset
from sentence_transformers import SparseEncoder, SparseEncoderTrainer, SparseEncoderTrainingArguments
from sentence_transformers.sparse_encoder.losses import SpladeLoss

from limbeck.integrations.sentence_transformers import DistillationLoss

# One column a document and the teacher's scores: the first document is the positive, as everywhere in that library.
COLUMNS = {
    "query": ["who purrs", "who lives in the sea"],
    "positive": ["cats purr", "whales swim in the sea"],
    "negative_1": ["dogs bark", "sea fish"],
    "negative_2": ["fish swim", "cats purr"],
    "scores": [[8.25, -1.5, -7.0], [7.75, 5.5, -8.5]],
}

(name,) = sys.argv[1:] or ["naver/splade-cocondenser-ensembledistil"]
student = SparseEncoder(name)
ckl = DistillationLoss(student, "ckl", gamma=5, ranks="student")  # the data have no ranks
loss = SpladeLoss(student, ckl, document_regularizer_weight=1e-3, query_regularizer_weight=1e-3)
args = SparseEncoderTrainingArguments("trained", num_train_epochs=10, learning_rate=2e-5, report_to="none")
data = Dataset.from_dict(COLUMNS)
SparseEncoderTrainer(model=student, args=args, train_dataset=data, loss=loss).train()
student.save("trained")
