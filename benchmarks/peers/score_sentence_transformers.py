"""Scoring pairs with ``CrossEncoder.predict`` and its default batch size."""

import json
from pathlib import Path

import torch
from clock import Clock, job
from sentence_transformers import CrossEncoder


def main() -> None:
    """Score the pairs of lists."""
    asked = job()
    torch.set_num_threads(asked["threads"])
    dtype = torch.bfloat16 if asked["precision"] == "bf16-mixed" else torch.float32
    longest = asked["query_length"] + asked["document_length"] + 3
    model = CrossEncoder(
        asked["model"],
        max_length=longest,
        device=asked["device"],
        activation_fn=torch.nn.Identity(),
        model_kwargs={"dtype": dtype},
    )
    with (Path(asked["data"]) / "corpus.jsonl").open(encoding="utf-8") as file:
        texts = {each["_id"]: each["text"] for each in map(json.loads, file)}
    with (Path(asked["data"]) / "lists.jsonl").open(encoding="utf-8") as file:
        lists = [json.loads(line) for line in file]
    pairs = [(each["query"], texts[document]) for each in lists for document in each["document_ids"]]
    size = len(lists[0]["document_ids"])
    clock = Clock(asked, torch.cuda.synchronize if asked["device"] == "cuda" else lambda: None)
    found = None
    for some in [pairs[: asked["batch"] * size]] * asked["warmup"] + [pairs] * asked["steps"]:
        found = model.predict(some, convert_to_tensor=True, show_progress_bar=False)
        clock.tick()
    assert found is not None
    clock.tell(len(pairs) * asked["steps"], sample=found[: 3 * size].float().view(3, size).tolist())


if __name__ == "__main__":
    main()
