"""Translate metrics from the spelling of trec_eval, pytrec_eval, ir_measures, BEIR and others to that of ``.spelling``.

``ndcg_cut_10``, ``P.10``, ``recip_rank`` (trec_eval, pytrec_eval); ``nDCG@10``, ``AP(rel=2)``,
``nDCG(dcg="exp-log2")@10`` (ir_measures, https://ir-measur.es/en/latest/measures.html); ``ndcg_at_10`` (BEIR, MTEB). A
metric is translated only to one with exactly the same value.
"""

import re

_NAMES = {
    "p": "precision", "r": "recall", "rr": "mrr", "recip_rank": "mrr", "ap": "map", "success": "hit_rate",
    "accuracy": "hit_rate", "rprec": "r-precision", "ndcg_cut": "ndcg", "map_cut": "map", "set_p": "precision",
    "setp": "precision", "set_recall": "recall", "setr": "recall", "set_f": "f1", "setf": "f1", "num_rel_ret": "hits",
    "numrelret": "hits", "mrr": "mrr", "map": "map", "ndcg": "ndcg", "recall": "recall", "precision": "precision",
    "bpref": "bpref", "hit_rate": "hit_rate", "f1": "f1", "r-precision": "r-precision",
}  # fmt: skip
"""Other programs' names, in lower case → limbeck's."""

_CUT = ("ndcg_cut", "map_cut", "p", "r", "success", "accuracy")
"""Metrics that need a cut-off: without one, trec_eval computes nine."""

_NEAREST = {
    "gm_map": "map", "infap": "map", "11pt_avg": "map", "iprec_at_recall": "map", "iprec": "map", "set_map": "map",
    "setap": "map", "gm_bpref": "bpref", "rndcg": "ndcg", "ndcg_rel": "ndcg", "ndcg_p": "ndcg", "g": "ndcg",
    "bing": "ndcg", "err": "ndcg", "nerr": "ndcg", "alpha_ndcg": "ndcg", "relative_p": "precision",
    "set_relative_p": "precision", "rprec_mult": "r-precision", "num_ret": "hits", "numret": "hits",
    "num_rel": "recall", "numrel": "recall", "judged": "recall", "utility": "f1",
}  # fmt: skip
"""Other programs' metrics without an equal here → the nearest."""

_SPELT = re.compile(
    r"(?P<name>[a-z][a-z0-9-]*?(?:_[a-z0-9-]*[a-z][a-z0-9-]*?)*?|11pt_avg)"
    r"(?:\((?P<options>[^()]*)\))?"
    r"(?:(?:@|_at_|[._])(?P<cutoff>[0-9][0-9.,]*))?",
    re.IGNORECASE,
)
_OPTION = re.compile(r"""(?P<name>\w+)=(?P<quote>["']?)(?P<value>[\w.-]+)(?P=quote)""")


def translated(metric: str) -> str | None:
    """Return limbeck's spelling of another program's metric; None if it is unknown.

    Raises
    ------
    ValueError
        The metric has no equal here; the message says why, and names the nearest.
    """
    found = _SPELT.fullmatch(metric.replace(" ", ""))
    if found is None:
        return None
    name, cutoff = found["name"].lower(), found["cutoff"] or ""
    if name in _NEAREST:
        depth = cutoff if cutoff.isdigit() else ""  # in iprec_at_recall_0.10 it is a level of recall
        raise ValueError(f"is not computed here; the nearest is {_cut(_NEAREST[name], depth)}")
    if name not in _NAMES:
        return None
    if "," in cutoff:
        each = ", ".join(_cut(_NAMES[name], one) for one in cutoff.split(",") if one)
        raise ValueError(f"has several cut-offs; name each: {each}")
    if name in ("set_f", "setf") and cutoff:
        if float(cutoff) != 1:
            raise ValueError("is not computed here; the nearest is f1")
        cutoff = ""
    ours, level, cutoff = _with_options(_NAMES[name], found["options"], cutoff)
    if name in _CUT and not cutoff:
        raise ValueError(f"needs a cut-off, as in {_NAMES[name]}@10")
    return _cut(ours, cutoff) + level


def _with_options(name: str, options: str | None, cutoff: str) -> tuple[str, str, str]:
    """Return name, relevance level and cut-off, from ir_measures's options in brackets."""
    level = ""
    for option in filter(None, (options or "").split(",")):
        found = _OPTION.fullmatch(option)
        match (found["name"], found["value"]) if found else None:
            case ("rel", value) if value.isdigit():
                level = "" if value == "1" else f"-l{value}"
            case ("cutoff", value) if value.isdigit() and not cutoff:
                cutoff = value
            case ("dcg", "log2") if name == "ndcg":
                pass
            case ("dcg", "exp-log2") if name == "ndcg":
                name = "ndcg_burges"
            case ("judged_only", "False") | ("beta", "1" | "1.0"):
                pass
            case _:
                raise ValueError(
                    f"has an option that is not computed here, {option}; the nearest is {_cut(name, cutoff)}"
                )
    return name, level, cutoff


def _cut(name: str, cutoff: str) -> str:
    return f"{name}@{cutoff}" if cutoff else name
