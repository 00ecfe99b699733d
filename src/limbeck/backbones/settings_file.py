"""Files of settings beside a model: JSON."""

import json
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of JSON; one that is not there is empty."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
