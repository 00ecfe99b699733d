"""Lets the search tests import their neighbour ``search_worlds``."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
