"""Encoding documents beside ``SentenceTransformer.encode``: documents/s.

    python benchmarks/encode.py           float32: about 2 minutes on 2 cores
    python benchmarks/encode.py --full    more documents, and bfloat16
    python benchmarks/encode.py --check   fail where a limit is not kept

Both read the same texts, cut at 256 tokens, with the same 6 layers of MiniLM, mean pooling and normalised vectors; that
they make the same numbers is checked. Ours reads the texts from the collection by their ids, as ``limbeck index`` does,
from kept tokens; the peer is given a list of strings. In bfloat16 ours multiplies in 16 bits with weights in 32
(autocast); the peer's weights have 16 bits.
"""

from itertools import product

import materials
import ours
import rounds

from limbeck.processes import end_with_parent

DOCUMENTS = {"dl": 600, "nfcorpus": 200, "synthetic": 1_000}
FULL = 6
"""Times as many documents with ``--full``."""
LEAST = {"dl": 1.1, "nfcorpus": 1.1}
TOLERANCE = {"32-true": 1e-4, "bf16-mixed": 3e-2}


def main() -> None:
    """Measure, and print a table."""
    end_with_parent()
    parser = rounds.parser(__doc__ or "", rounds=3, warmup=1)
    parser.add_argument("--documents", type=int, help="of each setting")
    parser.add_argument("--layers", type=int, choices=range(1, 7), default=6)
    parser.add_argument("--precisions", nargs="+", choices=list(TOLERANCE))
    parser.add_argument("--check", action="store_true", help="fail where a limit is not kept")
    asked = parser.parse_args()
    precisions = asked.precisions or (list(TOLERANCE) if asked.full else ["32-true"])
    settings, peers = rounds.ready(asked)
    model = materials.model(asked.layers, asked.cache)
    found = []
    for setting, precision in product(settings, precisions):
        documents = asked.documents or DOCUMENTS[setting] * (FULL if asked.full else 1)
        own = {"layers": asked.layers, "student": "dense", "documents": documents, "steps": 1, "precision": precision}
        job = rounds.job(asked, setting, materials.BATCH, model, own)
        ours.keep_tokens(job)
        found.append(rounds.measure(job, rounds.commands("encode", peers), asked))
        rounds.same(found[-1:], TOLERANCE[precision])
    keys = {"setting": "texts", "documents": "documents", "layers": "layers", "precision": "precision"}
    rounds.table(found, keys, "documents")
    broken = rounds.keeps(found, LEAST)
    if asked.check and broken:
        raise SystemExit("not kept: " + "; ".join(broken))


if __name__ == "__main__":
    main()
