"""Limbeck's losses in the trainers of sentence-transformers.

```python
from limbeck.integrations.sentence_transformers import DistillationLoss, ListColumns

data.set_transform(ListColumns())                              # columns query, documents, scores, labels, ranks
loss = DistillationLoss(model, "ckl", gamma=5, scale=20)
SentenceTransformerTrainer(model=model, args=args, train_dataset=data, loss=loss).train()
```

See docs/howto/integrations.md. Nothing else in limbeck imports sentence-transformers.
"""

try:
    import sentence_transformers.multi_vector_encoder  # noqa: F401 - since 6.2
except ImportError as error:
    raise ImportError(
        "limbeck.integrations.sentence_transformers needs sentence-transformers 6.2 or later: "
        "pip install 'limbeck[sentence-transformers]'"
    ) from error

from limbeck.integrations.sentence_transformers.columns import ListColumns
from limbeck.integrations.sentence_transformers.loss import DistillationLoss

__all__ = ["DistillationLoss", "ListColumns"]
