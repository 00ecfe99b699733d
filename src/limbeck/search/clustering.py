"""Announce how long clustering takes: the libraries that do it show no progress."""

import logging
import time

import numpy as np

from limbeck.amounts import duration
from limbeck.progress import BRIEF

log = logging.getLogger(__name__)

_MEASURED = 2048
"""Vectors, and most centroids, that are compared to measure the speed of this machine."""


def announce(label: str, vectors: float, centroids: int, width: int) -> None:
    """Log one line with an estimate of the time, if it is ten seconds or more.

    Parameters
    ----------
    label
        What is done.
    vectors
        Number of comparisons of a vector with all centroids.
    centroids
        Number of centroids.
    width
        Number of their components.
    """
    seconds = vectors * centroids * _one(min(centroids, _MEASURED), width)
    if seconds >= BRIEF:
        log.info("%s: %d centroids, at least %s without progress messages", label, centroids, duration(seconds))


def _one(centroids: int, width: int) -> float:
    """Return the seconds this machine takes to compare a vector with a centroid."""
    vectors = np.ones((_MEASURED, width), np.float32)
    _ = vectors[:16] @ vectors[:centroids].T  # starts the threads
    start = time.perf_counter()
    _ = (vectors @ vectors[:centroids].T).argmax(1)
    return (time.perf_counter() - start) / (_MEASURED * centroids)
