"""Reads the modules of a sentence-transformers folder, for documents and for queries.

A folder has ``modules.json``, a list of modules with a ``config.json`` each; a ``Router`` holds one sequence of modules
for queries and one for documents. Reads the formats of versions 2 to 6, without sentence-transformers installed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from limbeck.backbones import known
from limbeck.backbones.settings_file import read_json
from limbeck.backbones.sources import clear_errors, inside
from limbeck.backbones.tables import MODULE
from limbeck.config import ConfigError

MODULES = "modules.json"
TRANSFORMERS = ("Transformer", "MLMTransformer")
READERS = (*TRANSFORMERS, MODULE)
"""Modules that correspond to a backbone."""

_OF_TRANSFORMER = [
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
]
"""Option files of a Transformer module; the first that exists is used."""


@dataclass(frozen=True)
class Module:
    """One module of a folder."""

    type: str
    folder: Path

    @property
    def file(self) -> Path:
        """File with the module's options."""
        return options_file(self.folder) if self.type in TRANSFORMERS else self.folder / "config.json"

    @property
    def config(self) -> dict[str, Any]:
        """Options of the module."""
        options = read_json(self.file)
        if not isinstance(options, dict):
            raise ConfigError(f"{self.file} is not what sentence-transformers writes: no mapping")
        return options

    @property
    def weights(self) -> dict[str, Tensor]:
        """Parameters of the module; raises ``ConfigError`` if they are missing or damaged."""
        with clear_errors(str(self.folder)):
            return self._weights()

    def _weights(self) -> dict[str, Tensor]:
        if (self.folder / "model.safetensors").is_file():
            return load_file(self.folder / "model.safetensors")
        return torch.load(self.folder / "pytorch_model.bin", map_location="cpu", weights_only=True)


@dataclass(frozen=True)
class Layout:
    """The modules of a folder, in order, for documents and for queries."""

    folder: Path
    documents: Sequence[Module]
    queries: Sequence[Module]
    settings: Mapping[str, Any]
    """Content of ``config_sentence_transformers.json``."""
    packages: frozenset[str] = frozenset({"sentence_transformers"})
    """Packages of the modules' classes."""

    @property
    def file(self) -> Path:
        """The file of ``settings``."""
        return self.folder / "config_sentence_transformers.json"

    def transformer(self) -> Path:
        """Return the folder of the documents' transformer or static embeddings."""
        return one(self.documents, READERS).folder

    def refuse(self, reason: str) -> ConfigError:
        """Return the error for a folder that cannot be represented as a student."""
        return ConfigError(f"{self.folder} cannot be read as a student: {reason}")


def layout(folder: Path) -> Layout | None:
    """Return the modules of a sentence-transformers folder; None if it is not one.

    Raises
    ------
    ConfigError
        A file does not have the library's format.
    """
    if not (folder / MODULES).is_file():
        return None
    try:
        return _layout(folder)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{folder / MODULES} is not what sentence-transformers writes: {error!r}") from error


def _layout(folder: Path) -> Layout:
    listed: Any = read_json(folder / MODULES)
    documents: list[Module] = []
    queries: list[Module] = []
    packages: set[str] = set()

    def module(written: str, place: Path) -> Module:
        package, _, _ = written.partition(".")
        packages.add(package)
        return Module(_known(folder, written), place)

    for item in listed:
        place = inside(folder, item.get("path", ""))
        _check(folder, folder / MODULES, item, known.LISTED)
        built = module(str(item["type"]), place)
        if built.type not in ("Router", "Asym"):
            documents.append(built)
            queries.append(built)
            continue
        file = place / "router_config.json"
        file = file if file.is_file() else place / "config.json"  # Asym, before version 5
        routes: Any = read_json(file)
        if set(routes["structure"]) != {"query", "document"}:
            raise ConfigError(f"{folder} cannot be read as a student: its routes are not query and document")
        _check(folder, file, routes.get("parameters") or {}, known.ROUTER)
        for role, modules in (("query", queries), ("document", documents)):
            modules += [module(str(routes["types"][n]), inside(place, n)) for n in routes["structure"][role]]
    settings: Any = read_json(folder / "config_sentence_transformers.json")
    return Layout(folder, documents, queries, dict(settings.items()), frozenset(packages))


def _known(folder: Path, written: str) -> str:
    """Return the name of a module's class; raise ``ConfigError`` if it is not in a supported package."""
    package, name = written.partition(".")[0], written.rpartition(".")[2]
    if package not in known.PACKAGES:
        raise ConfigError(
            f"{folder} cannot be read as a student: {folder / MODULES} names the module {written}, code that is not "
            f"of sentence-transformers and is not run; supported are {', '.join(known.MODULES)}"
        )
    return name


def _check(folder: Path, path: Path, given: Mapping[str, Any], rules: Mapping[str, known.Rule]) -> None:
    fault = known.fault(path, given, rules)
    if fault is not None:
        raise ConfigError(f"{folder} cannot be read as a student: {fault}")


def options_file(transformer: Path) -> Path:
    """Return the path of the library's option file for a transformer; the file may not exist."""
    found = [transformer / name for name in _OF_TRANSFORMER if (transformer / name).is_file()]
    return found[0] if found else transformer / _OF_TRANSFORMER[0]


def lower_cases(transformer: Path) -> bool:
    """Return whether the library lower-cases texts before tokenisation."""
    return bool(read_json(options_file(transformer)).get("do_lower_case"))


def around(transformer: Path) -> Layout | None:
    """Return the layout of the sentence-transformers folder that a transformer belongs to, if any."""
    places = (transformer, transformer.parent, transformer.parent.parent)  # two levels up for a Router
    found = next(filter(None, map(layout, places)), None)
    return found if found is not None and found.transformer().resolve() == transformer.resolve() else None


def one(modules: Sequence[Module], types: Sequence[str]) -> Module:
    """Return the only module of some types; raise ``ConfigError`` if there is none or several."""
    chosen = [module for module in modules if module.type in types]
    if len(chosen) != 1:
        where = modules[0].folder.parent if modules else "it"
        raise ConfigError(f"{where} cannot be read as a student: it has {len(chosen)} modules {types[0]}, not one")
    return chosen[0]
