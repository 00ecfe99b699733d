"""Find the models and finished runs that a command names: by folder, by name, or all of a sweep."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limbeck.config import ConfigError, fingerprint, identity, part_name

Node = Mapping[str, Any]

# Keys that distinguish runs, in this order; keys that follow from them are left out.
_FIRST = ("student._target_", "loss", "teacher", "backbone", "data")
_LAST = ("eval", "trainer.accelerator", "trainer.devices")


@dataclass(frozen=True)
class Named:
    """A folder and its name."""

    name: str
    """Equal for runs that differ only by seed."""
    seed: int | None
    """Seed of a limbeck run; None for other folders."""
    path: Path
    """A run folder, or a folder with a model."""

    @property
    def run(self) -> bool:
        """Whether it is the folder of a run."""
        return (self.path / "config.yaml").is_file()

    @property
    def model(self) -> Path:
        """Folder of the model itself."""
        return self.path / "model" if self.run else self.path


def named_folder(word: str, root: Path | None) -> Path:
    """Return the folder of a name below ``root``, or of a path; a folder below ``root`` takes precedence."""
    path = Path(word).expanduser()
    return root / word if root is not None and (root / word).is_dir() else path


def find(given: Any, *, key: str, root: Path | None = None) -> list[Named]:
    """Return the folders that an option names.

    Parameters
    ----------
    given
        A folder, or a checkpoint of a run (``RUN/checkpoints/NAME.ckpt``); a list of them, or a mapping from names to
        them. A folder of runs stands for all of them.
    key
        The option, for messages.
    root
        Folder of all sweeps, in which ``given`` may be a name.

    Raises
    ------
    ConfigError
        A folder does not exist, or holds no run and no model.
    """
    if isinstance(given, Mapping):
        named = {str(name): _folders(named_folder(str(path), root), key) for name, path in given.items()}
        return [Named(name, _seed(path), path) for name, paths in named.items() for path in paths]
    words = [given] if isinstance(given, str) else list(given)
    paths = [path for word in words for path in _folders(named_folder(str(word), root), key)]
    found = [Named(name, _seed(path), path) for name, path in zip(_names(paths), paths, strict=True)]
    places = list(dict.fromkeys(each.name for each in found))
    return sorted(found, key=lambda each: (places.index(each.name), each.seed or 0))


def _folders(path: Path, key: str) -> list[Path]:
    if path.is_file() and path.suffix == ".ckpt":
        return [path]
    if not path.is_dir():
        raise ConfigError(f"{key}: there is no folder (and no checkpoint) {str(path)!r}")
    if any((path / name).exists() for name in ("config.yaml", "modules.json", "limbeck.json", "config.json")):
        return [path]
    runs = [found.parent for found in sorted(path.glob("*/result.json"), key=_made)]
    if not runs:
        raise ConfigError(
            f"{key}: {str(path)!r} holds neither a run, nor finished runs, nor a model; give a folder that limbeck "
            "train or limbeck export has written, or one of sentence-transformers"
        )
    return runs


def _made(path: Path) -> tuple[int, str]:
    """Return a sort key that orders runs by their start: their ids are hashes."""
    return path.stat().st_mtime_ns, str(path)


def config(path: Path) -> dict[str, Any]:
    """Return the configuration of a run as plain containers."""
    import yaml

    try:
        return yaml.load((path / "config.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader)
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path / 'config.yaml'} cannot be read: {error}") from None


def result(path: Path) -> dict[str, Any]:
    """Return the result of a finished run or evaluation.

    Raises
    ------
    ConfigError
        It is not finished, or its result cannot be read.
    """
    try:
        return json.loads((path / "result.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is not finished; run its command again") from None
    except ValueError as error:
        raise ConfigError(
            f"{path / 'result.json'} cannot be read: {error}; delete it and run its command again"
        ) from None


def _seed(path: Path) -> int | None:
    return int(config(path)["seed"]) if (path / "config.yaml").is_file() else None


def _names(paths: Sequence[Path]) -> list[str]:
    """Name folders by what distinguishes them: student and loss if that is enough, else more of the configuration."""
    settings = [_settings(path) for path in paths]
    kinds = [fingerprint(each) for each in settings]
    keys = list(dict.fromkeys(key for each in settings for key in each))
    varied = [key for key in keys if len({str(each.get(key)) for each in settings}) > 1]
    varied.sort(key=_place)
    words: list[list[str]] = [[] for _ in paths]
    for key in varied:
        alike: dict[tuple[str, ...], list[int]] = {}
        for number, each in enumerate(words):
            alike.setdefault(tuple(each), []).append(number)
        for group in alike.values():  # only names shared by different configurations get longer
            adds = {number: _word(key, settings[number]) for number in group}
            if len({kinds[number] for number in group}) > 1 and len(set(adds.values())) > 1:
                for number, word in adds.items():
                    words[number].append(word)
    return [" ".join(filter(None, each)) or _alone(path) for each, path in zip(words, paths, strict=True)]


def _place(key: str) -> int:
    """Return the position of a key among those that name a run."""
    if key.startswith(_LAST):
        return len(_FIRST) + 1
    return next((number for number, first in enumerate(_FIRST) if key.startswith(first)), len(_FIRST))


def _alone(path: Path) -> str:
    if path.is_file():
        return f"{path.parents[1].name} {path.stem}"
    return path.parent.name if path.name == "model" else path.name


def _settings(path: Path) -> dict[str, Any]:
    """Return the flat configuration of a run without the seed; for other folders, the path."""
    if not (path / "config.yaml").is_file():
        return {"folder": _alone(path)}
    flat: dict[str, Any] = {}
    plain = {key: value for key, value in identity(config(path)).items() if key != "seed"}
    plain["loss"] = {"terms": "+".join(plain.get("loss") or {}), **(plain.get("loss") or {})}
    flatten(plain, "", flat)
    return flat


def flatten(node: Any, key: str, flat: dict[str, Any]) -> None:
    """Put the values of nested mappings into ``flat`` under dotted keys that begin with ``key``."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            flatten(value, f"{key}.{name}" if key else str(name), flat)
    else:
        flat[key] = node


def _word(key: str, setting: Node) -> str:
    value = setting.get(key)
    if key == "loss.terms" or key == "folder":
        return str(value or "")
    if key.endswith("._target_"):
        return part_name({"_target_": value}) if value else ""
    return "" if value is None and key not in setting else f"{key}={value}"


def file_name(name: str) -> str:
    """Return a name that is safe as part of a file name and on a command line."""
    return re.sub(r"[^\w-]+", "_", name.replace("=", "-")).strip("_") or "system"


def weights(path: Path) -> str:
    """Return a checksum of a checkpoint, or of all files in a folder with a model."""
    digest = hashlib.sha256()
    for file in [path] if path.is_file() else sorted(each for each in path.rglob("*") if each.is_file()):
        digest.update(str(file.relative_to(path)).encode())
        with file.open("rb") as content:
            digest.update(hashlib.file_digest(content, "sha256").digest())
    return digest.hexdigest()[:16]
