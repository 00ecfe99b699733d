"""Whether two folders hold the same results: every file, by what it means, without times and places."""

import contextlib
import csv
import hashlib
import json
import re
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import yaml
from filelock import FileLock, Timeout

from limbeck.scores.store import ScoreStore

_TIMES = {
    "seconds", "created", "queries_per_second", "waiting", "queries/s", "documents_per_second", "elapsed", "commit",
    "command", "started", "finished", "date", "latency_ms", "tokens/s", "tokens_per_second", "MFU", "mfu",
}  # fmt: skip
"""Keys of JSON files and columns of metrics that two undisturbed runs would not agree in either."""

_VERSION = re.compile(r"version_[0-9]+/(?=(metrics\.csv|hparams\.yaml)$)")
"""A resumed run begins another version of its metrics, and one killed early has written none: all are one file here."""

_MARKS = re.compile(r"\.unfinished|(^|/)unfinished(/|$)|(^|/)parts(/|$)|\.arrow\.\d+$")
"""What stands for something in the making, and never counts as done."""


_PLACED = re.compile(r"(^|/)checksums/")
"""Artefacts that are named by the place of a file and its inode: two folders have the same ones under other names."""


class Verdict(NamedTuple):
    """What the comparison of two folders found."""

    compared: Counter[str]
    """Files by what they are."""
    lost: list[str]
    """What the reference has and the folder has not: files, records."""
    doubled: list[str]
    """Records that stand more often than in the reference."""
    different: list[str]
    """Files whose content is another one."""
    held: list[str]
    """Locks that cannot be taken."""
    left: list[str]
    """What something in the making has left behind. It counts for nothing, and is reported."""

    @property
    def clean(self) -> bool:
        """Whether nothing is lost, doubled, different or held."""
        return not (self.lost or self.doubled or self.different or self.held)


def compare(reference: Path, folder: Path) -> Verdict:
    """Compare a folder with the undisturbed one."""
    found = Verdict(Counter(), [], [], [], [], [])
    wanted, have = _files(reference), _files(folder)
    found.left.extend(sorted(name for name in have if _MARKS.search(name)))
    wanted, have = ({_VERSION.sub("", name) for name in names if not _MARKS.search(name)} for names in (wanted, have))
    sums = [Counter(_lines(root / name)[0] for name in names if name.endswith("/sha256") and _PLACED.search(name))
            for root, names in ((reference, wanted), (folder, have))]  # fmt: skip
    found.lost.extend(f"checksum {each}" for each in sums[0] - sums[1])
    found.doubled.extend(f"checksum {each}" for each in sums[1] - sums[0])
    wanted, have = ({name for name in names if not _PLACED.search(name)} for names in (wanted, have))
    found.lost.extend(sorted(wanted - have))
    found.different.extend(f"{name}: only there" for name in sorted(have - wanted))
    for name in sorted(wanted & have):
        if name.endswith(".lock"):
            if not _free(folder / name):
                found.held.append(name)
            continue
        kind, read = _reader(name)
        found.compared[kind] += 1
        if read is None:
            continue
        one, other = read(reference / name), read(folder / name)
        if kind in _RECORDS:
            lost, doubled = Counter(one) - Counter(other), Counter(other) - Counter(one)
            found.lost.extend(f"{name}: {record[:120]} ({times} times)" for record, times in lost.items())
            found.doubled.extend(f"{name}: {record[:120]} ({times} times)" for record, times in doubled.items())
        elif one != other:
            found.different.append(name)
    return found


def _files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def _free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


# -- by kind of file ----------------------------------------------------------------------------------------------

_RECORDS = {"run file", "metrics", "validations", "judgments"}
"""Kinds that are compared record by record."""


def _reader(name: str) -> tuple[str, Callable[[Path], Any] | None]:
    for pattern, kind, read in _KINDS:
        if re.search(pattern, name):
            return kind, read
    return "other file, by its bytes", _digest


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


def _json(path: Path) -> Any:
    return _timeless(json.loads(path.read_text(encoding="utf-8")))


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(each) for key, each in value.items() if key not in _TIMES}
    if isinstance(value, list):
        return [_timeless(each) for each in value]
    return value


def _metrics(path: Path) -> list[str]:
    """Return what was logged, a record a step and name, from all versions: a resumed run begins another one.

    Of a step that was gone through twice (after the last checkpoint before the kill) both have logged the same: it is
    one record. Other values under the same step would be another record, and so doubled.
    """
    records = set()
    for version in path.parent.glob("version_*/metrics.csv"):
        with version.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                records |= {
                    f"step {row['step']} {name} {value}"
                    for name, value in row.items()
                    if value and name not in (*_TIMES, "step")
                }
    return sorted(records)


def _hyperparameters(path: Path) -> set[str]:
    """Return what the versions' files say: one text where all agree."""
    return {version.read_text(encoding="utf-8") for version in path.parent.glob("version_*/hparams.yaml")}


def _store(path: Path) -> Any:
    store = ScoreStore.open(path.parent)
    store.verify()
    return _timeless(store.meta), [
        (query, documents, scores.tobytes(), None if ranks is None else ranks.tobytes())
        for query, documents, scores, ranks in store
    ]


def _yaml(path: Path) -> Any:
    """Return the content; places in it are relative to the folder of the drill, which alone has another name."""
    text = path.read_text(encoding="utf-8")
    root = next(each for each in path.resolve().parents if (each / "cache").is_dir())
    return yaml.safe_load(text.replace(str(root), "."))


def _parquet(path: Path) -> Any:
    return pq.read_table(path).to_pylist()


def _array(path: Path) -> Any:
    array = np.load(path, allow_pickle=False)
    return array.dtype, array.shape, array.tobytes()


def _page(path: Path) -> str:
    """Return a report without the ids that Bokeh draws anew each time, and without times."""
    text = path.read_text(encoding="utf-8")
    for data in re.findall(r'<script type="application/json"[^>]*>(.*?)</script>', text, re.DOTALL):
        if '"DataTable"' in data:
            text = text.replace(data, json.dumps(_untimed(json.loads(data))))
    text = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "ID", text)
    text = re.sub(r"\bp[0-9]{4,}\b", "ID", text)
    return re.sub(
        r"[0-9]+([.,][0-9]+)* ?(s|min|h|queries/s|documents/s)\b|[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]+", "T", text
    )


def _untimed(value: Any) -> Any:
    """Empty the columns of Bokeh's tables that are titled as times."""
    if isinstance(value, list):
        return [_untimed(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.get("name") == "DataTable":
        of = value["attributes"]
        columns = [column["attributes"] for column in of["columns"]]
        times = {column["field"] for column in columns if re.search(r"\bs(econds)?\b|/s", column.get("title", ""))}
        data = of["source"]["attributes"]["data"] if "attributes" in of["source"] else {"entries": []}
        data["entries"] = [entry for entry in data["entries"] if entry[0] not in times]
    return {key: _untimed(each) for key, each in value.items()}


def _study(path: Path) -> list[Any]:
    """Return the trials of a study: number, state, values of parameters, value."""
    query = """
        SELECT number, state, param_name, param_value, value FROM trials
        LEFT JOIN trial_params USING (trial_id) LEFT JOIN trial_values USING (trial_id) ORDER BY number, param_name
    """
    with contextlib.closing(sqlite3.connect(path)) as database:
        return database.execute(query).fetchall()


def _meta(path: Path) -> Any:
    return _store(path) if (path.parent / _raw(path).get("checksum", "-")).is_dir() else _json(path)


def _raw(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


_KINDS: list[tuple[str, str, Callable[[Path], Any] | None]] = [
    (r"\.safetensors$", "weights, bit by bit", _digest),
    (r"(^|/)runs/.*/runs/.*\.trec$|\.trec$", "run file", _lines),
    (r"metrics\.csv$", "metrics", _metrics),
    (r"metrics/hparams\.yaml$", "hyper-parameters", _hyperparameters),
    (r"validations\.jsonl$", "validations", _lines),
    (r"qrels/.*\.tsv$", "judgments", _lines),
    (r"\.parquet$", "values per query", _parquet),
    (r"\.npy$", "encodings", _array),
    (r"(^|/)meta\.json$", "artefact or store", _meta),
    (r"\.html$", "report", _page),
    (r"study\.db$", "study", _study),
    (r"\.ckpt$|train\.log$|trials/[0-9]+\.log$|env\.json$", "log or checkpoint, that it is there", None),
    (r"\.json$", "JSON", _json),
    (r"\.yaml$", "YAML", _yaml),
]
