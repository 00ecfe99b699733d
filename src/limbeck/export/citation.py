"""The citations of an exported student's model card."""

from collections.abc import Container

from limbeck.version import __version__

_CITATION = """\
@software{limbeck,
  title = {Limbeck: distilling neural rankers},
  author = {{The Limbeck authors}},
  version = {%s}
}"""
_CKL = """\
@inproceedings{yang2024weighted,
  title = {Weighted {KL}-Divergence for Document Ranking Model Refinement},
  author = {Yang, Yingrui and Qiao, Yifan and He, Shanxiu and Yang, Tao},
  booktitle = {SIGIR},
  year = {2024}
}"""


def citation(losses: Container[str]) -> str:
    """Return the card's section on citations: Limbeck, and the paper of CKL if it was a loss."""
    entries = [_CITATION % __version__, *([_CKL] if "ckl" in losses else [])]
    return "## Citation\n\n```bibtex\n" + "\n\n".join(entries) + "\n```"
