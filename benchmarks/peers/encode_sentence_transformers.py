"""Encoding with ``SentenceTransformer.encode`` and its default batch size."""

import json
from pathlib import Path

import torch
from clock import Clock, job
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer


def main() -> None:
    """Encode the first documents of a collection."""
    asked = job()
    torch.set_num_threads(asked["threads"])
    dtype = torch.bfloat16 if asked["precision"] == "bf16-mixed" else torch.float32
    transformer = Transformer(asked["model"], max_seq_length=asked["document_length"], model_kwargs={"dtype": dtype})
    modules = [transformer, Pooling(transformer.get_embedding_dimension(), "mean"), Normalize()]
    model = SentenceTransformer(modules=modules, device=asked["device"])
    with (Path(asked["data"]) / "corpus.jsonl").open(encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line, _ in zip(file, range(asked["documents"]), strict=False)]
    clock = Clock(asked, torch.cuda.synchronize if asked["device"] == "cuda" else lambda: None)
    found = None
    for some in [texts[: asked["batch"]]] * asked["warmup"] + [texts] * asked["steps"]:
        found = model.encode(some, convert_to_tensor=True, show_progress_bar=False)
        clock.tick()
    assert found is not None
    clock.tell(len(texts) * asked["steps"], sample=found[:3, :4].float().tolist())


if __name__ == "__main__":
    main()
