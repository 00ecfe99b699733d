"""What was typed behind a verb."""

from dataclasses import dataclass


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
