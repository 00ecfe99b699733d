"""Profiles of Hypothesis: ``ci``, of the suite, always draws the same; ``long`` (``make fuzz``) takes minutes."""

import os
import sys
from pathlib import Path

from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "losses"))  # loss_worlds

_SLOW = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]

settings.register_profile("ci", derandomize=True, deadline=None, max_examples=25, suppress_health_check=_SLOW)
settings.register_profile("long", deadline=None, max_examples=1000, suppress_health_check=_SLOW)
settings.load_profile(os.environ.get("LIMBECK_FUZZ", "ci"))
