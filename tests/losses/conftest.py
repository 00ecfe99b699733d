"""Lets the loss tests import their neighbour ``loss_worlds``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
