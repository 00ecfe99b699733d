"""Checks of a folder of sentence-transformers: modules, their order, keys, inputs and outputs must be supported."""

from limbeck.backbones import known
from limbeck.backbones.layout import TRANSFORMERS, Layout, Module


def check(found: Layout, kind: str) -> None:
    """Raise an error for modules, an order of modules or keys that are not supported for a kind of student.

    Raises
    ------
    ConfigError
        Something is not supported; the message names the file, the module or the key.
    """
    fault = known.fault(found.file, found.settings, known.FOLDERS[kind])
    order = known.ORDER[kind]
    for modules in (found.documents, found.queries):
        places = []
        for module in modules:
            if module.type not in order:
                raise found.refuse(
                    f"the module {module.type} in {module.folder.name or module.folder} is not supported there; "
                    f"{', '.join(order)} are"
                )
            fault = fault or known.fault(module.file, module.config, known.MODULES[module.type])
            places.append(order[module.type])
        if places != sorted(places):
            raise found.refuse(
                f"its modules come in the order {', '.join(module.type for module in modules)}; "
                f"{', '.join(order)} is supported"
            )
    if fault is not None:
        raise found.refuse(fault)
    for module in {module.folder: module for module in [*found.documents, *found.queries]}.values():
        if module.type in TRANSFORMERS:
            _check_task(found, module, kind)
        if module.type in ("Dense", "Normalize"):
            _check_names(found, module, kind)


def _check_task(found: Layout, module: Module, kind: str) -> None:
    """Raise an error for a transformer whose output a kind of student does not read."""
    settings = module.config
    pooled = any(each.type == "Pooling" for each in found.documents)
    wanted = {"splade": "fill-mask", "cross_encoder": "sequence-classification"}.get(kind, "feature-extraction")
    wanted = "feature-extraction" if pooled else wanted
    task = settings.get("transformer_task") or (
        "fill-mask" if module.type == "MLMTransformer" else "feature-extraction"
    )
    if task != wanted:
        raise found.refuse(f"{module.file}: transformer_task is {task}; {wanted} is supported there")
    output, name = known.TASKS[wanted]
    modes = settings.get("modality_config")
    if modes is not None and modes != {"text": {"method": "forward", "method_output_name": output}}:
        raise found.refuse(f"{module.file}: modality_config is {modes}; only text by forward, {output}, is supported")
    if settings.get("module_output_name") not in (None, name):
        raise found.refuse(
            f"{module.file}: module_output_name is {settings['module_output_name']}; {name} is supported"
        )


def _check_names(found: Layout, module: Module, kind: str) -> None:
    """Raise an error for a layer whose input or output differs from that of a kind of student."""
    settings = module.config
    source = "token_embeddings" if kind == "colbert" else "sentence_embedding"
    usual = source if module.type == "Dense" else "sentence_embedding"  # the library's defaults
    target = "scores" if kind == "cross_encoder" else source
    read_ = settings.get("module_input_name") or usual
    written = settings.get("module_output_name") or read_
    if (read_, written) != (source, target):
        raise found.refuse(f"{module.file}: it reads {read_} and writes {written}; {source} and {target} are supported")
