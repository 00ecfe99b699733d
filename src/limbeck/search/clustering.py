"""How long clustering will take: the libraries that do it show nothing while they work."""

import logging
import time

import numpy as np

from limbeck.amounts import duration
from limbeck.progress import BRIEF

log = logging.getLogger(__name__)

_MEASURED = 2048
"""Vectors, and at most so many centroids, that are compared to see how quick this machine is."""


def announce(label: str, vectors: float, centroids: int, width: int) -> None:
    """Say in one line what is done and about how long it takes, if it takes ten seconds or more.

    Parameters
    ----------
    label
        What is done.
    vectors
        That are compared with all centroids, each as often as it is.
    centroids, width
        Their number, and their components.
    """
    seconds = vectors * centroids * _one(min(centroids, _MEASURED), width)
    if seconds >= BRIEF:
        log.info("%s: %d centroids, at least %s without a word", label, centroids, duration(seconds))


def _one(centroids: int, width: int) -> float:
    """Return the seconds in which a vector is compared with a centroid here."""
    vectors = np.ones((_MEASURED, width), np.float32)
    _ = vectors[:16] @ vectors[:centroids].T  # threads are started
    start = time.perf_counter()
    _ = (vectors @ vectors[:centroids].T).argmax(1)
    return (time.perf_counter() - start) / (_MEASURED * centroids)
