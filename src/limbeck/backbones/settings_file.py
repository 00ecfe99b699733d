"""JSON files next to a model."""

import json
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file; return an empty mapping if it does not exist."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
