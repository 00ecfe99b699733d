"""Folders of finished runs, written as ``limbeck train`` leaves them."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from limbeck.config import entries
from limbeck.evaluation.per_query import write_per_query
from limbeck.experiment.table import tabulate

QUERIES = [f"q{number}" for number in range(40)]
METRICS = ("ndcg@10", "mrr@10")
COMPARISON = {"_target_": "comparison/comparison"}


def target(kind, name):
    return entries()[kind, name].target


def node(kind, name, **options):
    return {"_target_": target(kind, name), **options}


class Runs:
    """Writes runs below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._made = 0

    def add(
        self,
        sweep="sweep",
        *,
        loss="kl",
        options=None,
        student="dense",
        student_options=None,
        seed=1,
        collection="/data/alpha",
        level=0.5,
        content="aaaa",
        commit="c0ffee0000000000",
        changed=False,
        overrides=(),
        teacher=0.7,
        extra=None,
        sets=None,
    ) -> Path:
        """Write a finished run whose student has ``level`` on average; the same seed and loss give the same noise."""
        self._made += 1
        path = self.root / sweep / f"{self._made:08x}"
        path.mkdir(parents=True)
        terms = loss.split("+")
        config = {
            "name": sweep,
            "seed": seed,
            "data": {"_target_": "data/collection", "collection": collection, "world": None},
            "candidates": node("candidates", "bm25", depth=100),
            "teacher": node("teacher", "ranker", bf16=True),
            "student": node("student", student, **(student_options or {"scale": 20.0})),
            "backbone": {"_target_": target("backbone", "pretrained"), "layers": 3},
            "loss": {term: node("loss", term, weight=1.0, **(options or {}).get(term, {})) for term in terms},
            "paths": {"runs": str(self.root)},
            **(extra or {}),
        }
        (path / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        words = [f"data.collection={collection}", f"loss=[{','.join(terms)}]", f"seed={seed}", *overrides]
        env = {"commit": commit, "uncommitted_changes": changed, "overrides": [*words, f"paths.runs={self.root}"]}
        (path / "env.json").write_text(json.dumps(env))
        told = {"collection": collection, "collection_fingerprint": content, "split": "test"}
        told["rows"] = self._rows(path, "test", level, seed, loss, teacher)
        told["sets"] = {}
        for name, value in (sets or {}).items():
            if value is None:
                told["sets"][name] = {"missing": "no such folder"}
            else:
                told["sets"][name] = {"fingerprint": "ffff", "rows": self._rows(path, name, value, seed, loss, teacher)}
        (path / "result.json").write_text(json.dumps(told))
        return path

    def _rows(self, path, prefix, level, seed, loss, teacher):
        # One set of query difficulties for all, a little noise by seed, and a constant for the system.
        hard = np.random.default_rng(0).uniform(-0.2, 0.2, len(QUERIES))
        noise = np.random.default_rng([seed, len(loss)]).normal(0, 0.02, len(QUERIES))
        values = np.clip(level + hard - hard.mean() + noise - noise.mean() + 0.01 * (seed - 2), 0, 1)
        per_query = {metric: dict(zip(QUERIES, values.tolist(), strict=True)) for metric in METRICS}
        write_per_query(path / "per_query" / f"{prefix}.student.parquet", per_query)
        for key, value in (("first_stage", 0.3), ("teacher", teacher)):
            same = dict.fromkeys(METRICS, dict.fromkeys(QUERIES, value))
            write_per_query(path / "per_query" / f"{prefix}.{key}.parquet", same)
        words = {"candidates": "whole collection", "queries": len(QUERIES), "ranked": len(QUERIES)}
        rows = [
            {"key": key, "system": system, **words, **dict.fromkeys(METRICS, value)}
            for key, system, value in (("first_stage", "BM25 (k1=0.9, b=0.4)", 0.3), ("teacher", "teacher", teacher))
        ]
        means = {metric: float(np.mean(list(each.values()))) for metric, each in per_query.items()}
        return [*rows, {"key": "student", "system": "student, distilled", **words, **means}]


@pytest.fixture
def runs(tmp_path):
    """Write runs below ``tmp_path / "runs"``."""
    return Runs(tmp_path / "runs")


@pytest.fixture
def table(runs):
    """Make a table of the sweep ``sweep``."""

    def call(partial=False, mix_commits=False, mix_data=False, comparison=None, **spec):
        spec = {"caption": "Losses", "runs": ["sweep"], "rows": ["loss"], **spec}
        config = {
            "table": spec,
            "comparison": COMPARISON | (comparison or {}),
            "paths": {"runs": str(runs.root)},
            "partial": partial,
            "mix_commits": mix_commits,
            "mix_data": mix_data,
        }
        return tabulate(config, "t")

    return call
