"""Loggers of Lightning: TensorBoard, and any other by its class path."""

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from limbeck.rankings import Row
from limbeck.registry import register
from limbeck.secrecy import without_secrets
from limbeck.training.tracking import Figures, summary

_FOLDER = "{folder}"


@register("logger", "lightning")
class Lightning:
    """Any subclass of Lightning's ``Logger``.

    Parameters
    ----------
    logger
        Dotted path of the class, such as ``lightning.pytorch.loggers.MLFlowLogger``.
    options
        Keyword arguments of the class. In strings, ``{folder}`` is replaced by the run folder, ``{name}`` by the name
        of the sweep and ``{id}`` by the run id. null is ``{save_dir: "{folder}"}``.

    Raises
    ------
    ValueError
        The class does not exist, is not a logger, or does not accept its options.
    """

    def __init__(self, *, logger: str = "lightning.pytorch.loggers.CSVLogger", options: Any = None) -> None:
        module, _, name = logger.rpartition(".")
        try:
            found = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(f"logger={logger} cannot be imported: {error}") from None
        if not (isinstance(found, type) and issubclass(found, Logger)):
            raise ValueError(f"logger={logger} is no class of a Lightning logger")
        self.logger = logger
        if not isinstance(options, Mapping | None):
            raise ValueError(f"options must be a mapping, or null, got {options!r}")
        self.options: dict[str, Any] = {"save_dir": _FOLDER} if options is None else dict(options)
        self._made: Logger | None = None

    def start(
        self, folder: Path, name: str, run_id: str, config: Mapping[str, Any], verb: str = "train"
    ) -> list[Logger]:
        """Create the logger and log the configuration to it."""
        module, _, kind = self.logger.rpartition(".")
        words = {"folder": str(folder.absolute()), "name": name, "id": run_id}
        given = {key: _filled(value, words) for key, value in self.options.items()}
        try:
            self._made = getattr(importlib.import_module(module), kind)(**given)
        except (TypeError, ImportError, ValueError) as error:
            raise ValueError(f"logger: {self.logger} refuses its options: {error}") from None
        assert self._made is not None
        self._split = (config.get("eval") or {}).get("split", "test")
        self._made.log_hyperparams({**without_secrets(config), "run_id": run_id, "verb": verb})
        return [_Last(self._made)]

    def finish(self, rows: Sequence[Row], figures: Figures, *, failed: bool) -> None:
        """Log the values of the final table, and close the logger."""
        del figures
        made, self._made = self._made, None
        if made is None:
            return
        if not failed:
            made.log_metrics(summary(rows, self._split), 0)
        made.save()
        made.finalize("failed" if failed else "success")


class _Last(Logger):
    """Forwards metrics to a logger, but does not close it at the end of training: the run closes it later."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    @property
    def name(self) -> str | None:
        """Name of the wrapped logger."""
        return self._logger.name

    @property
    def version(self) -> int | str | None:
        """Version of the wrapped logger."""
        return self._logger.version

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log values of a step."""
        self._logger.log_metrics(dict(metrics), step)

    def log_hyperparams(self, *_: Any) -> None:
        """Do nothing: ``Lightning.start`` has logged the configuration."""

    def save(self) -> None:
        """Flush the wrapped logger."""
        self._logger.save()


@register("logger", "tensorboard")
class TensorBoard(Lightning):
    """TensorBoard, in ``RUN_FOLDER/tensorboard/``; view a sweep with ``tensorboard --logdir runs/NAME``.

    Raises
    ------
    ValueError
        Neither tensorboard nor tensorboardX is installed: ``pip install 'limbeck[tensorboard]'``.
    """

    def __init__(self) -> None:
        options = {"save_dir": _FOLDER, "name": "tensorboard", "version": ""}
        super().__init__(logger="lightning.pytorch.loggers.TensorBoardLogger", options=options)
        if not any(map(_there, ("tensorboard", "tensorboardX"))):
            raise ValueError("tensorboard is not installed: pip install 'limbeck[tensorboard]'")


def _there(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _filled(value: Any, words: Mapping[str, str]) -> Any:
    """Return an option's value; in a string, replace ``{folder}``, ``{name}`` and ``{id}``."""
    if isinstance(value, str):
        for name, text in words.items():
            value = value.replace(f"{{{name}}}", text)
    return value
