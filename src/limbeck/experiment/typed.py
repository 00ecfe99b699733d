"""The words typed after a verb."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class Typed:
    """The words after a verb, as parsed by Hydra."""

    overrides: list[str]
    """``key=value``; ``${…}`` is kept as typed."""
    config_dirs: list[str]
    """The folders of ``--config-dir``."""

    def chosen(self, group: str) -> str | None:
        """Return the part chosen for a group, as ``small_losses`` for ``table=small_losses``."""
        found = [word.partition("=")[2] for word in self.overrides if word.startswith(f"{group}=")]
        return found[-1] if found else None


def words_of(overrides: Iterable[object]) -> list[str]:
    """Return the overrides that Hydra keeps, as typed; ``${…}`` in them is not resolved."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(overrides, resolve=False) if OmegaConf.is_config(overrides) else overrides
    return list(map(str, cast(Iterable[object], plain)))
