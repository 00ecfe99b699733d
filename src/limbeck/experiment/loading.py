"""Load trained rankers from folders, packages and the hub (``limbeck.load``)."""

from pathlib import Path

import torch
import yaml

from limbeck.backbones import hub
from limbeck.backbones.settings_file import read_json
from limbeck.backbones.sources import PACKAGE, clear_errors, locate, quiet
from limbeck.backbones.stanford import CLASS
from limbeck.config import Config, ConfigError, Node, entries, home, part_name
from limbeck.experiment import assemble
from limbeck.experiment.export import with_defaults, write
from limbeck.experiment.text_ranker import TextRanker
from limbeck.export.origin import Origin, origin
from limbeck.students import bare, folders
from limbeck.students.foreign import SCORES, classifier
from limbeck.students.saved import Nodes, Saved

_NOT_WEIGHTS = ("*.onnx", "onnx/*", "openvino/*", "*.h5", "*.msgpack", "*.ot", "*.tflite")
"""Files of a model on the hub that other programs need."""


def load(
    where: str | Path,
    *,
    student: str | None = None,
    options: Node | None = None,
    revision: str | None = None,
    device: str | torch.device | None = None,
    bf16: bool = False,
) -> TextRanker:
    """Load a trained ranker.

    Parameters
    ----------
    where
        A run (``runs/NAME/RUN_ID``), its ``model``, a folder that ``limbeck export`` or ``TextRanker.save`` wrote,
        one of sentence-transformers (SentenceTransformer, SparseEncoder, MultiVectorEncoder, CrossEncoder), of PyLate
        or of ColBERT's own code, a plain checkpoint, ``package:NAME/FOLDER`` inside an installed package, or a name on
        the Hugging Face hub.
    student
        Kind of the ranker that a plain checkpoint is: ``dense``, ``splade``, ``colbert``, ``cross_encoder``. All
        others say so themselves.
    options
        Options of the student that differ from what lies there, as ``{"query_length": 64}``.
    revision
        Commit or tag on the hub.
    device
        Where it works, as torch names it; None takes the GPU if there is one.
    bf16
        Compute in bfloat16.

    Returns
    -------
    TextRanker
        It encodes, scores and ranks texts.

    Raises
    ------
    ConfigError
        Nothing known lies there, what lies there cannot be represented, it lacks weights, or it is a plain checkpoint
        and ``student`` is not given. The message says what to do.

    Examples
    --------
    ```python
    ranker = limbeck.load("runs/train/f1553819")
    ranker.rank("who swims?", {"d1": "fish swim", "d2": "dogs bark"})
    ```
    """
    given = Path(where).expanduser()
    source = str(given) if given.exists() else str(where)
    try:
        place = _fetched(source, revision) if hub.is_name(source) else _folder(source)
        whole = folders.holds(Path(place))
        nodes = _saved(place, student, options) if whole else _checkpoint(place, student, options, revision)
    except ConfigError as error:  # its message is written for configuration files
        raise ConfigError(str(error).removeprefix("student.folder: ").replace("student.options", "options")) from None
    chosen = torch.device(device) if device is not None else assemble.device("auto")
    model, tokenizer = assemble.saved(nodes.student, nodes.backbone)
    node = with_defaults(nodes.student, model)
    trained = origin(Path(place)) if Path(place).is_dir() else Origin()

    def save(folder: Path, name: str, said: Node | None) -> None:
        write(folder, model, tokenizer, node, trained, name, said=said)

    return TextRanker(model, tokenizer, node, source, save, device=chosen, bf16=bf16)


def _folder(source: str) -> str:
    """Return the path of a folder, which may lie inside a package."""
    try:
        return locate(source) if source.startswith(PACKAGE) else source
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _fetched(name: str, revision: str | None) -> str:
    """Return the downloaded folder of a hub model that says what student it is; for others, the name itself.

    Raises
    ------
    ConfigError
        It is neither a folder nor a name of the hub.
    """
    import transformers
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        raise ConfigError(f"there is no folder {name!r}, and it is no name of a model on the hub") from None
    if hub.described(name, revision) is not None:
        return _downloaded(name, revision)
    with quiet(), clear_errors(name):  # the hub may not have the file
        config = transformers.AutoConfig.from_pretrained(name, revision=revision, trust_remote_code=False)
    says = any(hasattr(config, key) for key in SCORES) or CLASS in (config.architectures or [])
    return _downloaded(name, revision) if says else name


def _downloaded(name: str, revision: str | None) -> str:
    from huggingface_hub import snapshot_download

    return snapshot_download(name, revision=revision, ignore_patterns=list(_NOT_WEIGHTS))


def _saved(place: str, kind: str | None, options: Node | None) -> Nodes:
    """Return the configuration nodes of a folder that records which student it holds."""
    nodes = Saved(folder=place, options=options).nodes({})
    found = part_name(nodes.student)
    if kind not in (None, found):
        raise ConfigError(f"student is {kind!r}, but {place!r} holds a {found}; leave student out")
    return nodes


def _checkpoint(place: str, kind: str | None, options: Node | None, revision: str | None) -> Nodes:
    """Return the configuration nodes of a plain checkpoint, read as a student of the given kind."""
    kinds = sorted(name for group, name in entries() if group == "student" and name != "saved")
    if Path(place).is_dir() and not (Path(place) / "config.json").is_file():
        if (Path(place) / "config.yaml").is_file():
            folders.read(Path(place), key="student.folder")  # for a run: raises an error if it has no model yet
        raise ConfigError(f"{place!r} holds no model: neither limbeck.json nor modules.json nor config.json")
    config = read_json(Path(place) / "config.json")
    scores = kind in (None, "cross_encoder") and any(key in config for key in SCORES)
    kind = "cross_encoder" if scores else kind
    if kind is None:
        raise ConfigError(
            f"{place!r} is a checkpoint that does not say what student it is; choose one: "
            f"limbeck.load({place!r}, student=…) with {', '.join(kinds)}"
        )
    if kind not in kinds:
        raise ConfigError(f"student must be one of {', '.join(kinds)}, got {kind!r}")
    found = classifier(Path(place)) if scores else _configured(kind)
    node = {"_target_": f"student/{kind}", **found, **(options or {})}
    if not hub.is_name(place):
        bare.check(kind, node, place, key="", trains=False)
    return Nodes(node, {"_target_": "backbone/pretrained", "model": place, "revision": revision})


def _configured(kind: str) -> Config:
    """Return the options in which ``student=KIND`` differs from the class; a cross-encoder keeps its classifier."""
    path = home() / "conf" / "student" / f"{kind}.yaml"
    given = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    own = {"pooling": "head"} if kind == "cross_encoder" else {}
    return own | {name: value for name, value in given.items() if name != "defaults"}
