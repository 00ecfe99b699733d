"""A dense student by CKL in a plain PyTorch loop: python THIS_FILE [MODEL]."""

import sys

import torch
from transformers import AutoModel, AutoTokenizer

from limbeck.losses import ckl

QUERIES = ["who purrs", "who lives in the sea"]
DOCUMENTS = [["dogs bark", "cats purr", "fish swim"], ["sea fish", "whales swim in the sea", "cats purr"]]
TEACHER = torch.tensor([[-1.5, 8.25, -7.0], [5.5, 7.75, -8.5]])  # raw scores
LABELS = torch.tensor([[0, 1, 0], [1, 1, 0]])  # relevance; there may be several positives
RANKS = torch.tensor([[2, 1, 3], [1, 2, 3]])  # of the documents in the first stage
MASK = torch.ones(2, 3, dtype=torch.bool)  # False for padding, where lists differ in length

(name,) = sys.argv[1:] or ["sentence-transformers/all-MiniLM-L6-v2"]
tokenizer, student = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name)
optimizer = torch.optim.AdamW(student.parameters(), lr=2e-5)


def encode(texts: list[str]) -> torch.Tensor:
    """Return the normalised mean of the tokens' states."""
    tokens = tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
    states, real = student(**tokens).last_hidden_state, tokens["attention_mask"].unsqueeze(-1)
    return torch.nn.functional.normalize((states * real).sum(1), dim=-1)


student.train()
for step in range(10):
    documents = encode([text for texts in DOCUMENTS for text in texts]).view(*MASK.shape, -1)
    scores = 20 * torch.einsum("bd,bld->bl", encode(QUERIES), documents)
    loss = ckl(scores, TEACHER, LABELS, MASK, RANKS, gamma=5.0).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    print(f"step {step}: CKL {loss.item():.4f}")
student.save_pretrained("trained")
