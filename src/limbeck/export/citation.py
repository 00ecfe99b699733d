"""What to cite for an exported student."""

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
    """Return the section of the card: this program, and the paper of CKL where that was among the losses."""
    entries = [_CITATION % __version__, *([_CKL] if "ckl" in losses else [])]
    return "## Citation\n\n```bibtex\n" + "\n\n".join(entries) + "\n```"
