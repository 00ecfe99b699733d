"""What MS MARCO would take on GPUs, by arithmetic from stated assumptions: a projection, nothing of it measured.

``python benchmarks/projection.py`` prints it; ``--peak`` and ``--utilisation`` put in what you have measured.
"""

import argparse
from dataclasses import dataclass

from limbeck.processes import end_with_parent

LISTS, CANDIDATES, PASSAGES = 500_000, 32, 8_841_823
PASSAGE, QUERY = 83, 9
"""Tokens of a passage and a query with special ones: means over 30,005 passages that systems found for the queries of
TREC DL 2019 and 2020, and over those queries, by the vocabulary of BERT."""
MODELS = {"MiniLM-L6": (6, 384), "MiniLM-L12": (12, 384), "BERT-base": (12, 768), "BERT-large": (24, 1024)}
"""Layers and width. A layer multiplies each token by 12 width² parameters; embeddings multiply nothing."""


@dataclass(frozen=True)
class Assumptions:
    """Of one GPU, and of several."""

    peak: float = 989e12
    """FLOP/s of dense bf16 products; 989e12 is the data sheet's of an H100 SXM, 312e12 that of an A100."""
    utilisation: float = 0.4
    """Share of the peak that is reached."""
    efficiency: float = 0.9
    """Share of 8 times the rate that 8 GPUs reach."""


@dataclass(frozen=True)
class Job:
    """Work of one kind on so many tokens."""

    name: str
    model: str
    tokens: float
    factor: int
    """FLOP a token and parameter: 2 forward, 6 with the backward pass."""

    @property
    def parameters(self) -> float:
        """P, of the layers."""
        layers, width = MODELS[self.model]
        return 12.0 * layers * width**2

    @property
    def flop(self) -> float:
        """Work of the layers' products."""
        return self.factor * self.parameters * self.tokens

    def seconds(self, given: Assumptions, devices: int = 1) -> float:
        """Time on so many GPUs."""
        rate = given.peak * given.utilisation * (1 if devices == 1 else devices * given.efficiency)
        return self.flop / rate


def jobs() -> list[Job]:
    """Return the work: an epoch of training, the encoding of the collection, the teacher's scores of all lists."""
    apart, pairs = LISTS * (CANDIDATES * PASSAGE + QUERY), LISTS * CANDIDATES * (PASSAGE + QUERY - 1)
    return [
        *(Job("train a dense student", model, apart, 6) for model in ("MiniLM-L6", "BERT-base")),
        *(Job("train a cross-encoder", model, pairs, 6) for model in ("MiniLM-L6", "BERT-base")),
        *(Job("encode the passages", model, PASSAGES * PASSAGE, 2) for model in ("MiniLM-L6", "BERT-base")),
        *(Job("score the lists, cross-encoder", model, pairs, 2) for model in ("MiniLM-L12", "BERT-large")),
    ]


def project(given: Assumptions) -> str:
    """Return the projection as Markdown, its assumptions first."""
    lines = [
        "### Projected, not measured: MS MARCO",
        "",
        f"{LISTS:,} lists of {CANDIDATES} once through training, {PASSAGES:,} passages. Arithmetic from assumptions:",
        "",
        f"- {PASSAGE} tokens a passage, {QUERY} a query (means, special ones included), {PASSAGE + QUERY - 1} a pair;"
        " no padding; no passage of a batch twice.",
        "- FLOP = 6 P tokens for training, 2 P tokens without gradient; P = 12 · layers · width², the parameters of the"
        " layers. Left out: the attention's own products (tokens / (6 width), 4 % at width 384), embeddings, heads,"
        " the loss, the optimiser.",
        f"- A GPU of {given.peak / 1e12:,.0f} TFLOP/s (bf16, dense; its data sheet's figure), of which"
        f" {given.utilisation:.0%} is reached. Narrow models and small batches reach less: put your own figure in.",
        f"- 8 GPUs at {given.efficiency:.0%} of 8 times the rate.",
        "- The disk, the loader and the collection's texts keep up; start-up and evaluation are not in it.",
        "",
        "| work | model | P | tokens | FLOP | 1 GPU | 8 GPUs | lists or texts/s on 1 GPU |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    for job in jobs():
        count = PASSAGES if job.name.startswith("encode") else LISTS
        alone, eight = job.seconds(given), job.seconds(given, 8)
        lines.append(
            f"| {job.name} | {job.model} | {job.parameters / 1e6:.1f}M | {job.tokens / 1e9:.2f}G | {job.flop:.1e} "
            f"| {_time(alone)} | {_time(eight)} | {count / alone:,.0f} |"
        )
    return "\n".join(lines)


def _time(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Add the assumptions."""
    usual = Assumptions()
    parser.add_argument("--peak", type=float, default=usual.peak, help="FLOP/s of a GPU")
    parser.add_argument("--utilisation", type=float, default=usual.utilisation)
    parser.add_argument("--efficiency", type=float, default=usual.efficiency, help="of 8 GPUs")


def main() -> None:
    end_with_parent()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments(parser)
    asked = parser.parse_args()
    print(project(Assumptions(asked.peak, asked.utilisation, asked.efficiency)))


if __name__ == "__main__":
    main()
