"""Scoring pairs with a cross-encoder beside ``CrossEncoder.predict``: pairs/s, as a teacher scores candidates.

    python benchmarks/score.py           float32: about 2 minutes on 2 cores
    python benchmarks/score.py --full    more pairs, and bfloat16

Both score the same pairs of lists of 8, with the same 6 layers of MiniLM and the same head; that they make the same
numbers is checked. Ours looks queries and documents up by their ids, as ``limbeck score`` does, from kept tokens; the
peer is given pairs of strings. In bfloat16 ours multiplies in 16 bits with weights in 32 (autocast); the peer's weights
have 16 bits.
"""

from itertools import product

import materials
import ours
import rounds

from limbeck.processes import end_with_parent

LISTS = {"dl": 64, "nfcorpus": 24, "synthetic": 100}
FULL = 6
"""Times as many lists with ``--full``."""
TOLERANCE = {"32-true": 1e-4, "bf16-mixed": 3e-2}


def main() -> None:
    """Measure, and print a table."""
    end_with_parent()
    parser = rounds.parser(__doc__ or "", rounds=3, warmup=1)
    parser.add_argument("--lists", type=int, help="of each setting")
    parser.add_argument("--layers", type=int, choices=range(1, 7), default=6)
    parser.add_argument("--precisions", nargs="+", choices=list(TOLERANCE))
    asked = parser.parse_args()
    precisions = asked.precisions or (list(TOLERANCE) if asked.full else ["32-true"])
    settings, peers = rounds.ready(asked)
    model = materials.classifier(asked.layers, asked.cache)
    found = []
    for setting, precision in product(settings, precisions):
        lists = asked.lists or LISTS[setting] * (FULL if asked.full else 1)
        own = {"layers": asked.layers, "student": "cross_encoder", "head": True, "pairs": lists * materials.CANDIDATES}
        job = rounds.job(asked, setting, lists, model, {**own, "steps": 1, "precision": precision})
        ours.keep_tokens(job)
        found.append(rounds.measure(job, rounds.commands("score", peers), asked))
        rounds.same(found[-1:], TOLERANCE[precision])
    keys = {"setting": "texts", "pairs": "pairs", "layers": "layers", "precision": "precision"}
    rounds.table(found, keys, "pairs")


if __name__ == "__main__":
    main()
