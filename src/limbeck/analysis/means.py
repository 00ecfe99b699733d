"""The mean over queries with its confidence interval."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import t

LEVEL = 0.95
"""Level of all intervals."""


@dataclass(frozen=True)
class Mean:
    """A mean over queries."""

    value: float
    half_width: float
    """Half the width of its 95 % interval; NaN for fewer than two queries."""
    count: int


def mean(sample: np.ndarray) -> Mean:
    r"""Return the mean of a sample and its interval by Student's t.

    ```math
    \bar x \pm t_{n-1,\,0.975} \, \frac{s}{\sqrt n}
    ```

    where s is the standard deviation with n - 1. Unlike the normal approximation this is valid for a handful of
    queries: with two the factor is 12.7, not 1.96. The interval has no width where all values are equal.

    Parameters
    ----------
    sample
        (n,) values of independent queries; an empty sample gives NaN.
    """
    count = len(sample)
    if not count:
        return Mean(float("nan"), float("nan"), 0)
    half_width = float("nan")
    if count > 1:
        half_width = float(t.ppf((1 + LEVEL) / 2, count - 1) * sample.std(ddof=1) / count**0.5)
    return Mean(float(sample.mean()), half_width, count)
