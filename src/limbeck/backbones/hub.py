"""Downloads the small files (without the transformer's weights) of a sentence-transformers model on the hub."""

from pathlib import Path

from limbeck.backbones.sources import PACKAGE, quiet

_SMALL = ("*.json", "*.txt", "*Dense*/model.safetensors", "*Dense*/pytorch_model.bin")
"""Files that describe the student, including the small layers after the transformer."""


def is_name(model: str) -> bool:
    """Return whether ``backbone.model`` is a name on the hub."""
    return not model.startswith(PACKAGE) and not Path(model).is_dir()


def described(model: str, revision: str | None = None) -> Path | None:
    """Return a folder with the small files of a sentence-transformers model on the hub.

    Parameters
    ----------
    model
        Name on the hub.
    revision
        Commit or tag.

    Returns
    -------
    The folder in Hugging Face's cache; None if the model has no ``modules.json`` or cannot be reached (loading its
    weights then raises the error).
    """
    from huggingface_hub import snapshot_download
    from transformers.utils.hub import cached_file

    try:
        with quiet():
            listed = cached_file(
                model,
                "modules.json",
                revision=revision,
                _raise_exceptions_for_missing_entries=False,
                _raise_exceptions_for_connection_errors=False,
                _raise_exceptions_for_gated_repo=False,
            )
            if listed is None:
                return None
            return Path(snapshot_download(model, revision=revision, allow_patterns=list(_SMALL)))
    except (OSError, ValueError):  # no such model, or not a valid name
        return None
