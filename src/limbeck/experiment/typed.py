"""What was typed behind a verb."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast


@dataclass(frozen=True)
class Typed:
    """The words behind a verb, as Hydra has read them."""

    overrides: list[str]
    """``key=value``, with ``${…}`` as it was typed."""
    config_dirs: list[str]
    """Folders of ``--config-dir``."""

    def chosen(self, group: str) -> str | None:
        """Return the part that was chosen of a group, as ``small_losses`` of ``table=small_losses``."""
        found = [word.partition("=")[2] for word in self.overrides if word.startswith(f"{group}=")]
        return found[-1] if found else None


def words_of(overrides: Iterable[object]) -> list[str]:
    """Return overrides that Hydra keeps, as they were typed: a ``${…}`` in them is not looked up."""
    from omegaconf import OmegaConf

    plain = OmegaConf.to_container(overrides, resolve=False) if OmegaConf.is_config(overrides) else overrides
    return list(map(str, cast(Iterable[object], plain)))
