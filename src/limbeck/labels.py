"""Names of losses, metrics, sets and configurations for readers of tables, figures, pages and trackers.

All such names are defined here. Keys, file names and the words of a command line are not translated; a name not listed
here (a loss or a set of your own) is shown unchanged.
"""

import re
from collections.abc import Sequence

LOSSES = {
    "adr_mse": "ADR-MSE",
    "approx_ndcg": "ApproxNDCG",
    "bce": "BCE",
    "bkl": "BKL",
    "ckl": "CKL",
    "cl_drd": "CL-DRD",
    "embedding_cosine": "embedding cosine",
    "embedding_mse": "embedding MSE",
    "flops": "FLOPS",
    "focal_kl": "focal KL",
    "hinge": "hinge",
    "info_nce": "InfoNCE",
    "js": "JS",
    "kl": "KL",
    "kl_ll": "KL + LL",
    "l1": "L1",
    "lambda_loss": "LambdaLoss",
    "list_net": "ListNet",
    "margin_mse": "MarginMSE",
    "mse": "MSE",
    "projected_kl": "projected KL",
    "rank_mse": "RankMSE",
    "ranknet": "RankNet",
    "reverse_kl": "reverse KL",
}
"""Registered name of a loss → its name in the literature."""

PARTS = {"dense": "dense", "splade": "SPLADE", "colbert": "ColBERT", "cross_encoder": "cross-encoder"}
"""Registered name of a student → its name in the literature."""

OPTIONS = {"gamma": "γ", "alpha": "α", "beta": "β"}
"""Options that papers write as a Greek letter."""

_KEYS = {
    "loss": "Loss",
    "student": "Student",
    "teacher": "Teacher",
    "backbone": "Backbone",
    "seed": "seed",
    "sampler.negatives": "negatives",
    "sampler.positives": "positives",
    "sampler.batch_size": "batch size",
    "optim.lr": "learning rate",
    "trainer.steps": "steps",
    "trainer.epochs": "epochs",
}

_METRICS = {
    "bpref": "bpref", "dcg": "DCG", "dcg_burges": "DCG (2^g)", "f1": "F1", "hit_rate": "Hit", "hits": "Hits",
    "map": "MAP", "mrr": "MRR", "ndcg": "nDCG", "ndcg_burges": "nDCG (2^g)", "precision": "P",
    "r-precision": "R-Prec", "rbp": "RBP", "recall": "R",
}  # fmt: skip

SETS = {
    "arguana": "ArguAna", "climate_fever": "Climate-FEVER", "climate-fever": "Climate-FEVER", "cranfield": "Cranfield",
    "dbpedia_entity": "DBpedia-Entity", "dbpedia-entity": "DBpedia-Entity", "fever": "FEVER", "fiqa": "FiQA",
    "hotpotqa": "HotpotQA", "msmarco": "MS MARCO", "msmarco-passage": "MS MARCO dev", "msmarco_dev": "MS MARCO dev",
    "msmarco_dl": "MS MARCO DL", "nfcorpus": "NFCorpus", "nq": "NQ", "quora": "Quora", "scidocs": "SCIDOCS",
    "scifact": "SciFact", "trec_covid": "TREC-COVID", "trec-covid": "TREC-COVID", "trec_dl_2019": "DL 2019",
    "trec_dl_2020": "DL 2020", "trec_dl_hard": "DL-HARD", "vaswani": "Vaswani", "webis_touche2020": "Touché-2020",
    "webis-touche2020": "Touché-2020",
}  # fmt: skip
"""Name of a set, or last part of a collection's name → its name in papers."""


def metric(name: str) -> str:
    """Return the name of a metric as papers write it.

    Examples
    --------
    >>> [metric(each) for each in ("ndcg@10", "mrr@10", "recall@1000", "map-l2", "rbp.80", "mine@5")]
    ['nDCG@10', 'MRR@10', 'R@1k', 'MAP (grade ≥ 2)', 'RBP (0.80)', 'mine@5']
    """
    found = re.fullmatch(r"(?P<name>[\w-]+?)(?:\.(?P<p>\d+))?(?:@(?P<k>\d+))?(?:-l(?P<level>\d+))?", name)
    if found is None or found["name"] not in _METRICS:
        return name
    text = _METRICS[found["name"]]
    if found["p"]:
        text += f" (0.{found['p']})"
    if found["k"]:
        cutoff = int(found["k"])
        text += f"@{cutoff // 1000}k" if cutoff % 1000 == 0 else f"@{cutoff}"
    return f"{text} (grade ≥ {found['level']})" if found["level"] else text


def loss(name: str) -> str:
    """Return the name of a loss, or of several joined by +, as papers write it.

    Examples
    --------
    >>> loss("margin_mse"), loss("kl+info_nce"), loss("my_loss")
    ('MarginMSE', 'KL + InfoNCE', 'my_loss')
    """
    return " + ".join(LOSSES.get(each, each) for each in name.split("+"))


def group(name: str) -> str:
    """Return the name of a set as papers write it; the split in ``nfcorpus dev`` is kept.

    Examples
    --------
    >>> group("nfcorpus"), group("scifact dev"), group("mine")
    ('NFCorpus', 'SciFact dev', 'mine')
    """
    first, gap, split = name.partition(" ")
    return f"{SETS.get(first, first)}{gap}{split}"


def heading(name: str) -> str:
    """Return the heading of a configuration key, a set or a metric."""
    return next((found for found in (key(name), group(name), metric(name)) if found != name), name)


def key(name: str) -> str:
    """Return the heading of a configuration key; if there are several loss terms, each keeps its loss's name.

    Examples
    --------
    >>> key("loss.ckl.gamma"), key("sampler.negatives"), key("loss"), key("data.collection")
    ('γ', 'negatives', 'Loss', 'data.collection')
    """
    if name in _KEYS:
        return _KEYS[name]
    last = name.rpartition(".")[2]
    return OPTIONS[last] if last in OPTIONS and name.startswith("loss.") else name


def options(text: str) -> str:
    """Return options, ``gamma=2, alpha=1``, with the letters of papers.

    Examples
    --------
    >>> options("gamma=2, weight=0.1")
    'γ=2, weight=0.1'
    """
    return re.sub(r"(?<![\w.])(\w+)(?==)", lambda found: OPTIONS.get(found[1], found[1]), text)


def value(part: str, name: str) -> str:
    """Return the label of a part (``loss``, ``student``); the values of other keys are returned unchanged."""
    if part == "loss":
        return loss(name)
    return PARTS.get(name, name) if part == "student" else name


def configuration(name: str) -> str:
    """Return the label of a configuration, from the words that distinguish it.

    Parameters
    ----------
    name
        Words separated by spaces: a student, losses joined by +, ``KEY=VALUE``; before them ``SET:``.

    Examples
    --------
    >>> configuration("ckl loss.ckl.gamma=2.0"), configuration("nfcorpus: splade kl+flops loss.flops.weight=0.1")
    ('CKL γ=2', 'NFCorpus: SPLADE KL + FLOPS FLOPS weight=0.1')
    >>> configuration("kl data.collection=/data/scifact")
    'KL data.collection=SciFact'
    """
    words = name.split(" ")
    alone = next((word for word in words if word in LOSSES), "+")  # a single loss: its options need not repeat its name
    return " ".join(_word(word, alone) for word in words)


def _word(word: str, alone: str) -> str:
    if word.endswith(":"):
        return f"{SETS.get(word[:-1], word[:-1])}:"
    name, equals, given = word.partition("=")
    if name == "data.collection":  # often a path
        given = group(_last(given))
    if equals:
        return f"{_short(name, alone)}={_number(given)}"
    terms = word.split("+")
    return loss(word) if all(each in LOSSES for each in terms) or len(terms) > 1 else PARTS.get(word, word)


def _number(text: str) -> str:
    """Return ``2.0`` as ``2``; other texts unchanged."""
    return re.sub(r"(?<=\d)\.0$", "", text)


def _last(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]


def _short(name: str, alone: str) -> str:
    if name in _KEYS:
        return _KEYS[name]
    parts = name.split(".")
    if parts[0] == "loss" and len(parts) == 3:
        option = OPTIONS.get(parts[2]) or parts[2].replace("_", " ")
        return option if alone == parts[1] else f"{loss(parts[1])} {option}"
    return name


def of_run(terms: Sequence[str], overrides: Sequence[str], seed: int | None, typed: Sequence[str] = ()) -> str:
    """Return the name of one run: its losses as typed, the overrides that matter, and the seed.

    Parameters
    ----------
    terms
        Names of its loss terms.
    overrides
        The overrides of its configuration, as ``KEY=VALUE``. Overrides that choose losses, paths and logging are left
        out.
    seed
        Its seed; None if it has none.
    typed
        The words of the command. Of several jobs, overrides typed for all of them are left out, except options of
        losses; of a single job, those that set up data and device.

    Examples
    --------
    >>> of_run(["ckl"], ["loss=[ckl]", "loss.ckl.gamma=2", "paths.runs=r", "sampler.negatives=7"], 1)
    'ckl γ=2 negatives=7 seed=1'
    """
    words = ["+".join(terms)]
    alone = terms[0] if len(terms) == 1 else "+"
    words_typed = {each.lower() for each in typed}  # Hydra writes True for true
    several = typed and any(
        each.lower() not in words_typed for each in overrides if not each.lstrip("+").startswith(_FREE)
    )
    for override in overrides:
        name, _, given = override.lstrip("+").partition("=")
        shared = (
            override.lower() in words_typed
            and not name.startswith("loss.")
            and (several or not name.startswith(_MODEL))
        )
        if not (name.startswith("~") or name == "loss" or name.startswith(_FREE) or shared):
            words.append(f"{_short(name, alone)}={_number(_last(given))}")
    return " ".join([*dict.fromkeys(words), *([] if seed is None else [f"seed={seed}"])])


_FREE = ("seed", "name", "force", "sweeps", "launcher", "paths", "logger", "hydra", "checks", "experiment", "debug")
"""Keys that do not affect what a run computes, or that other keys in the name imply."""

_MODEL = ("student", "teacher", "sampler", "optim", "pool", "callbacks")


def curve(name: str) -> str:
    """Return the heading of a logged value.

    Examples
    --------
    >>> [curve(each) for each in ("dev/ndcg@10", "train/ckl", "train/loss", "diagnostics/terms_ratio")]
    ['nDCG@10 on dev', 'CKL', 'weighted sum of the losses', 'negative terms / positive terms']
    """
    if name in _CURVES:
        return _CURVES[name]
    kind, _, rest = name.partition("/")
    if kind == "dev":
        return f"{metric(rest)} on dev"
    return LOSSES.get(rest, rest.replace("_", " ")) if kind == "train" else name


_CURVES = {
    "train/loss": "weighted sum of the losses",
    "train/kl_to_teacher": "KL to the teacher",
    "diagnostics/terms_ratio": "negative terms / positive terms",
}
