"""The command ``limbeck``: a verb and its words, and what is printed when something is wrong."""

import sys

from limbeck.cli.failing import fail
from limbeck.config import FailedError
from limbeck.experiment.calling import call
from limbeck.experiment.groups import listing
from limbeck.experiment.messages import explain, suggest
from limbeck.processes import end_with_parent
from limbeck.version import __version__

VERBS = {
    "mine": "find the candidates of the training queries: by BM25, an encoder, run files, or their fusion",
    "score": "score candidates with a teacher, into a score store",
    "import": "bring public teacher scores into a score store",
    "inspect": "look at teacher scores before training: checks, numbers, pictures",
    "train": "train a student, then search or re-rank with it and evaluate",
    "tune": "search for the best settings of limbeck train, by Optuna: pruned, resumable, ends with an experiment",
    "evaluate": "evaluate students, teachers and run files on known collections; compare what is finished",
    "table": "finished sweeps as a table in Markdown and LaTeX, with the commands of its rows",
    "report": "one HTML page about the runs of a sweep: tables, curves, figures, settings, commands",
    "export": "write a student as a folder that sentence-transformers and transformers load",
    "index": "encode a collection with a student and build an index: exact, faiss, inverted lists, PLAID",
    "search": "search an index, or re-rank a first stage by it: a TREC run and its metrics",
}

_HELP = """\
limbeck {version}: distil rankers

  limbeck VERB [OVERRIDES]

{verbs}

Overrides are Hydra's:    limbeck train loss=ckl loss.ckl.gamma=3 data.collection=beir/nfcorpus
What there is to set:     limbeck VERB --cfg job
A sweep:                  limbeck train sweeps=quick_losses, or limbeck train -m loss=kl,ckl seed=1,2,3
Its runs, without making any:   limbeck train sweeps=quick_losses --dry-run
Tracebacks:               --debug
Hydra's own options:      limbeck VERB --hydra-help
"""


def main() -> None:
    """Run the program."""
    end_with_parent()
    words = sys.argv[1:]
    if not words or words[0] in ("-h", "--help", "help"):
        width = max(map(len, VERBS))
        print(_HELP.format(version=__version__, verbs="\n".join(f"  {v:<{width}}  {t}" for v, t in VERBS.items())))
        return
    if words[0] == "--version":
        print(__version__)
        return
    verb, *rest = words
    if verb not in VERBS:
        fail(f"{verb!r} is no verb{suggest(verb, VERBS)}; the verbs are: {', '.join(VERBS)}")
    if rest in (["-h"], ["--help"]):
        print(f"limbeck {verb}: {VERBS[verb]}\n\n{listing(verb)}\n")
        print(f"limbeck {verb} --cfg job  shows every key with its value.")
        return
    debug = "--debug" in rest
    try:
        call(verb, [word for word in rest if word != "--debug"])
    except KeyboardInterrupt:
        fail("interrupted; give the same command again to go on", 130)
    except FailedError as error:
        fail(str(error), 1)
    except Exception as error:
        if debug:
            raise
        message = explain(error)
        if message is None:
            fail(f"{type(error).__name__}: {error}\n--debug shows where this comes from", 1)
        fail(str(message))
