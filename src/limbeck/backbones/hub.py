"""What a model on the hub says beside its weights: the small files of a folder of sentence-transformers."""

from pathlib import Path

from limbeck.backbones.sources import PACKAGE, quiet

_SMALL = ("*.json", "*.txt", "*Dense*/model.safetensors", "*Dense*/pytorch_model.bin")
"""Files that say which student lies there; layers on top of the transformer are small."""


def is_name(model: str) -> bool:
    """Return whether ``backbone.model`` is a name on the hub."""
    return not model.startswith(PACKAGE) and not Path(model).is_dir()


def described(model: str, revision: str | None = None) -> Path | None:
    """Return a folder with what a hub model of sentence-transformers holds beside the transformer's weights.

    Parameters
    ----------
    model
        Name on the hub.
    revision
        Commit or tag.

    Returns
    -------
    The folder in the cache of Hugging Face; None if the model has no ``modules.json``, or cannot be reached, which
    loading its weights names.
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
    except (OSError, ValueError):  # no such model, no name of one
        return None
