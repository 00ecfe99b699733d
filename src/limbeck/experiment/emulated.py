"""Warn of bfloat16 on a processor that has no instructions for it."""

import logging
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

import torch

from limbeck.config import Node
from limbeck.inference import bf16_processor

log = logging.getLogger(__name__)


def warn(config: Node, device: torch.device) -> None:
    """Warn, once per process, that bfloat16 will be emulated; the warning names the keys that ask for it.

    Parameters
    ----------
    config
        A composed configuration as plain containers.
    device
        Device of the models.
    """
    if device.type == "cpu" and not bf16_processor():
        keys = ", ".join(_asking(config, ""))
        if keys:
            _say(keys)


@cache
def _say(keys: str) -> None:
    log.warning(
        "%s: this processor has no bfloat16 instructions, and emulates them: 5 to 10 times slower than float32, for no "
        "better figures; set bf16 to false and precision to auto here",
        keys,
    )


def _asking(node: Node, path: str) -> Iterator[str]:
    """Yield the keys that ask for bfloat16, as typed. On a processor Lightning turns float16 into bfloat16."""
    for name, value in node.items():
        key = f"{path}{name}"
        if (name == "bf16" and value is True) or (name == "precision" and value in ("bf16-mixed", "16-mixed")):
            yield f"{key}={_typed(value)}"
        elif isinstance(value, Mapping):
            yield from _asking(value, f"{key}.")


def _typed(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
