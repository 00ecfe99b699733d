"""Every family of encoders, small and with random weights, through the one backbone that loads checkpoints."""

import json
import logging
import shutil

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.utils._pytree import tree_leaves

from limbeck.backbones import mlm, packing
from limbeck.backbones.backbone import save
from limbeck.backbones.families import most_tokens
from limbeck.backbones.pretrained import Pretrained
from limbeck.backbones.sources import load_tokenizer, locate
from limbeck.backbones.sub_batches import inputs
from limbeck.backbones.tiny import Tiny
from limbeck.config import ConfigError, build
from limbeck.students.colbert import ColBERT
from limbeck.students.cross_encoder import CrossEncoder
from limbeck.students.dense import Dense
from limbeck.students.tops import load_top
from limbeck.types import Tokens

WORDS = ["ba", "ke", "li", "mo", "nu", "pa", "re", "si", "to", "vu"]
VOCABULARY = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]", *WORDS]
PAD = 1  # MPNet counts positions from padding token 1, whatever its configuration says

SHAPE = {"hidden_size": 16, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 24}
POSITIONS = {"max_position_embeddings": 40}
FAMILIES = {
    "Bert": SHAPE | POSITIONS,
    "DistilBert": {"dim": 16, "n_layers": 3, "n_heads": 2, "hidden_dim": 24} | POSITIONS,
    "Electra": SHAPE | POSITIONS | {"embedding_size": 8},
    "ModernBert": SHAPE
    | POSITIONS
    | {
        "global_attn_every_n_layers": 2,
        "local_attention": 8,
        "cls_token_id": 0,
        "sep_token_id": 2,
        "bos_token_id": 0,
        "eos_token_id": 2,
    },
    "Roberta": SHAPE | POSITIONS | {"type_vocab_size": 1},
    "XLMRoberta": SHAPE | POSITIONS | {"type_vocab_size": 1},
    "MPNet": SHAPE | POSITIONS,
    "DebertaV2": SHAPE
    | POSITIONS
    | {
        "relative_attention": True,
        "pos_att_type": ["p2c", "c2p"],
        "position_biased_input": False,
        "type_vocab_size": 0,
    },
    "Albert": SHAPE | POSITIONS | {"embedding_size": 8},
}
TASKS = {"encoder": "Model", "classifier": "ForSequenceClassification", "mlm": "ForMaskedLM"}


def make_tokenizer():
    made = Tokenizer(models.WordLevel({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 0), ("[SEP]", 2)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        cls_token="[CLS]",
        pad_token="[PAD]",
        sep_token="[SEP]",
        unk_token="[UNK]",
        mask_token="[MASK]",
    )


def write(family, folder, task="mlm", **changed):
    """Save a model of a family with random weights, large enough to tell texts apart."""
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(
        vocab_size=len(VOCABULARY), pad_token_id=PAD, **{**FAMILIES[family], **changed}
    )
    model = getattr(transformers, family + TASKS[task])(config)
    for name, parameter in model.named_parameters():
        if "norm" not in name.lower():
            parameter.data.mul_(5)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return model


@pytest.fixture(scope="module", params=FAMILIES)
def checkpoint(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    write(request.param, folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bert")
    write("Bert", folder)
    return folder


@pytest.fixture
def copy(bert, tmp_path):
    return shutil.copytree(bert, tmp_path / "copy")


def load(path, task="encoder", **options):
    source = Pretrained(model=str(path), **options)
    return source.model(source.tokenizer(list, None), task)


@pytest.fixture(scope="module")
def encoder(checkpoint):
    """The checkpoint's encoder and its tokenizer; not to be changed."""
    return load(checkpoint), load_tokenizer(str(checkpoint))


def rows(*sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [[0, *rng.integers(5, len(VOCABULARY), size).tolist(), 2] for size in sizes]


def batch(tokenizer, wanted):
    tokens = tokenizer.pad(wanted)
    tokens.token_type_ids = (torch.arange(tokens.input_ids.shape[1]) >= 3) * tokens.attention_mask
    return tokens


def output(model, tokens):
    made = model(**inputs(model, tokens))
    return made.last_hidden_state if hasattr(made, "last_hidden_state") else made.logits


@pytest.mark.parametrize(
    ("checkpoint", "task"),
    [(family, "encoder") for family in FAMILIES]
    + [(family, "classifier") for family in ("Bert", "DistilBert", "ModernBert", "XLMRoberta")]  # four shapes
    + [(family, "mlm") for family in ("Bert", "ModernBert")],
    indirect=["checkpoint"],
)
def test_padding_changes_nothing(checkpoint, encoder, task):
    model, tokenizer = encoder
    if task != "encoder":
        model = load(checkpoint, task)
    model.eval()
    assert type(model).__name__.endswith(TASKS[task])
    texts = rows(3, 9, 6)
    with torch.no_grad():
        together = output(model, batch(tokenizer, texts))
        for i, row in enumerate(texts):
            alone = output(model, batch(tokenizer, [row]))[0]
            torch.testing.assert_close(together[i, : len(alone)], alone, atol=1e-5, rtol=1e-5)
    assert task == "classifier" or together.std() > 1e-2  # the classifier is new, so small


def test_heads_are_taken_apart(checkpoint):
    model = load(checkpoint, "mlm").eval()
    tokens = batch(load_tokenizer(str(checkpoint)), rows(3, 9))
    with torch.no_grad():
        states = model.base_model(**inputs(model, tokens)).last_hidden_state
        transform, weight, bias = mlm.mlm_parts(model)
        torch.testing.assert_close(transform(states) @ weight.T + bias, output(model, tokens), atol=1e-5, rtol=1e-5)
    assert weight is model.get_input_embeddings().weight
    assert weight.shape[0] == len(VOCABULARY) == len(bias)


def test_debertas_own_head_is_taken_apart():
    settings = FAMILIES["DebertaV2"] | {"legacy": False}
    model = transformers.DebertaV2ForMaskedLM(
        transformers.DebertaV2Config(vocab_size=len(VOCABULARY), **settings)
    ).eval()
    ids = torch.tensor(rows(7))
    with torch.no_grad():
        transform, weight, bias = mlm.mlm_parts(model)
        states = model.base_model(input_ids=ids).last_hidden_state
        torch.testing.assert_close(transform(states) @ weight.T + bias, model(input_ids=ids).logits)


def test_a_head_that_is_not_known_is_refused():
    config = transformers.MobileBertConfig(
        vocab_size=20, num_hidden_layers=1, hidden_size=16, embedding_size=16, intra_bottleneck_size=16,
        intermediate_size=16, num_attention_heads=2,
    )  # fmt: skip
    with pytest.raises(ConfigError, match="the masked-language-model head of MobileBertForMaskedLM is not supported"):
        mlm.mlm_parts(transformers.MobileBertForMaskedLM(config))


def test_first_layers(checkpoint, encoder):
    """Two layers of three are the model whose third layer is left out."""
    whole, short = encoder[0].eval(), load(checkpoint, layers=2).eval()
    assert short.config.num_hidden_layers == 2
    tokens = batch(encoder[1], rows(4))
    with torch.no_grad():
        states = whole(**inputs(whole, tokens), output_hidden_states=True).hidden_states
        ours = output(short, tokens)
    wanted = states[2]
    if whole.config.model_type == "modernbert":
        wanted = whole.final_norm(wanted)
    torch.testing.assert_close(ours, wanted, atol=1e-5, rtol=1e-5)
    with pytest.raises(ConfigError, match=r"layers must be <= 3, the depth of"):
        load(checkpoint, layers=4)


def test_dropout(checkpoint, encoder):
    tokens = batch(encoder[1], rows(9))
    off, on = load(checkpoint, "classifier", dropout=0.0).train(), load(checkpoint, dropout=0.5).train()
    torch.manual_seed(0)
    assert torch.equal(output(off, tokens), output(off, tokens))  # neither below the head nor in it
    assert not torch.equal(output(on, tokens), output(on, tokens))


def test_all_parameters_of_an_encoder_are_used(encoder):
    model, tokenizer = encoder
    model.zero_grad()
    output(model, batch(tokenizer, rows(9))).square().sum().backward()
    assert not [name for name, parameter in model.named_parameters() if parameter.grad is None]


def test_most_tokens(encoder):
    model, tokenizer = encoder
    most = most_tokens(model)
    assert most == (38 if model.config.model_type in ("roberta", "xlm-roberta", "mpnet") else 40)
    with torch.no_grad():
        output(model, batch(tokenizer, rows(most - 2)))
    if model.config.model_type in ("roberta", "xlm-roberta", "mpnet", "bert", "distilbert", "electra", "albert"):
        with pytest.raises((IndexError, RuntimeError)):
            output(model, batch(tokenizer, rows(most - 1)))


# Adapters


def lively(model):
    """Give adapters weights other than zero."""
    torch.manual_seed(3)
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)


@pytest.mark.parametrize(
    ("checkpoint", "task"),
    [("Bert", "encoder")]
    + [(family, "mlm") for family in ("Bert", "Albert", "DebertaV2", "Electra", "ModernBert")]
    + [(family, "classifier") for family in ("Bert", "DistilBert", "ModernBert", "XLMRoberta")],
    indirect=["checkpoint"],
)
def test_adapters_alone_train_and_merge(checkpoint, task, tmp_path, caplog):
    """Of the heads, classifiers are of four shapes; ALBERT shares its layers, ModernBERT has one for q, k and v."""
    caplog.set_level(logging.INFO)
    torch.manual_seed(0)
    plain = load(checkpoint, task)
    before = plain.state_dict()
    torch.manual_seed(0)
    model = load(checkpoint, task, lora={"rank": 2}).eval()
    assert type(model) is type(plain)
    training = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert any("lora_" in name for name in training)
    others = {name for name in training if "lora_" not in name}
    assert bool(others) == (task == "classifier")  # a checkpoint of masked words has no classifier
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert f"{count:,} of" in caplog.text

    lively(model)
    tokens = batch(load_tokenizer(str(checkpoint)), rows(9, 4))
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.01)
    output(model, tokens).square().mean().backward()
    optimiser.step()
    student = torch.nn.Module()
    student.backbone = model
    save(student, load_tokenizer(str(checkpoint)), tmp_path / "merged")
    merged = load(tmp_path / "merged", task).eval()
    with torch.no_grad():
        ours, theirs = output(model, tokens), output(merged, tokens)
        assert (ours - output(plain.eval(), tokens)).abs().max() > 1e-4
    torch.testing.assert_close(ours, theirs, atol=2e-5, rtol=1e-5)
    saved = load_file(tmp_path / "merged" / "model.safetensors")
    assert not [name for name in saved if "lora" in name or "base_layer" in name]
    frozen = {name for name in before if "norm" in name.lower() and name.replace("base_layer.", "") not in training}
    for name in frozen:
        torch.testing.assert_close(before[name], merged.state_dict()[name], atol=0, rtol=0)
    words = "embeddings.word_embeddings.weight"
    for name in before:
        if name.endswith(words):
            assert torch.equal(before[name], merged.state_dict()[name])


def test_targets_of_adapters(bert):
    model = load(bert, lora={"rank": 2, "targets": ["query", "value"]})
    adapted = {name.split(".lora_")[0].rpartition(".")[2] for name, _ in model.named_parameters() if "lora_" in name}
    assert adapted == {"query", "value"}
    with pytest.raises(
        ValueError, match=r"lora\.targets: no linear layer of the model ends in 'q_proj'; there are dense, key"
    ):
        load(bert, lora={"targets": ["q_proj"]})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r": 8}, r"backbone\.lora has no option r; its options are rank, alpha, dropout, targets"),
        ({"rank": 0}, r"backbone\.lora\.rank must be a whole number >= 1, got 0"),
        ({"alpha": -1}, r"backbone\.lora\.alpha must be > 0"),
        ({"dropout": 1.0}, r"backbone\.lora\.dropout must be in \[0, 1\)"),
        ({"targets": "query"}, r"backbone\.lora\.targets must be a list"),
        ({"alpha": float("inf")}, r"backbone\.lora\.alpha must be > 0"),
        ({"dropout": float("nan")}, r"backbone\.lora\.dropout must be in \[0, 1\)"),
        (3, r"backbone\.lora must be null, false or options like"),
    ],
)
def test_senseless_adapters(options, message):
    with pytest.raises(ConfigError, match=message):
        build({"_target_": "backbone/tiny", "lora": options}, key="backbone")


def test_an_adapter_is_smaller_than_its_layer(bert):
    width = load(bert).config.hidden_size
    load(bert, lora={"rank": width})
    with pytest.raises(
        ConfigError, match=rf"^lora\.rank must be <= {width}, the smaller side of the matrix of .*query"
    ):
        load(bert, lora={"rank": width + 1, "targets": ["query"]})


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("max_length", 0, "must be >= 1"),
        ("max_length", -5, "must be >= 1"),
        ("vocab_size", 10**10, "must be <= 1048576"),  # its trainer would abort the process
        ("dropout", float("nan"), r"must be in \[0, 1\)"),
    ],
)
def test_senseless_sizes(option, value, message):
    with pytest.raises(ValueError, match=rf"^{option} {message}, got "):
        Tiny(**{option: value})


@pytest.mark.parametrize("name", ["package:nothing/x", "package:nothing.here/x", "package:/x"])
def test_packages_that_are_not_installed(name):
    with pytest.raises(ValueError, match=f"^model '{name}' needs the Python package .*, which is not installed"):
        locate(name)


def test_adapters_without_peft(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"lora needs the Python package peft.*pip install 'limbeck\[lora\]'"):
        Tiny(lora={})


def test_a_student_with_adapters_starts_from_a_saved_one(bert, tmp_path):
    """What lies on top of the backbone finds its place, adapters or not."""
    source = Pretrained(model=str(bert), lora={"rank": 2})
    tokenizer = source.tokenizer(list, None)
    first = CrossEncoder(lambda task: source.model(tokenizer, task)).eval()
    first.second = source.model(tokenizer, "mlm")  # such as a query's own transformer; its decoder is its embeddings
    lively(first)
    save(first, tokenizer, tmp_path)
    again = Pretrained(model=str(tmp_path), lora={"rank": 4})
    second = CrossEncoder(lambda task: again.model(tokenizer, task)).eval()
    second.second = again.model(tokenizer, "mlm")
    load_top(second, again)
    tokens = batch(tokenizer, rows(9))
    with torch.no_grad():
        torch.testing.assert_close(first.score_pairs(tokens), second.score_pairs(tokens))
        torch.testing.assert_close(output(first.second, tokens), output(second.second, tokens))


@pytest.mark.parametrize(
    ("checkpoint", "lora"),
    [*((family, None) for family in ("Bert", "DebertaV2", "DistilBert", "ModernBert", "MPNet")), ("Bert", {"rank": 2})],
    indirect=["checkpoint"],
)
def test_gradient_checkpointing_changes_no_number(checkpoint, lora):
    if not load(checkpoint).supports_gradient_checkpointing:  # MPNet, ALBERT
        with pytest.raises(ValueError, match=r"gradient_checkpointing: .* does not support it; set it to false"):
            load(checkpoint, gradient_checkpointing=True)
        return
    gradients, values = [], []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = load(checkpoint, dropout=0.1, lora=lora, gradient_checkpointing=checkpointing).train()
        assert model.is_gradient_checkpointing == checkpointing
        torch.manual_seed(0)
        value = output(model, batch(load_tokenizer(str(checkpoint)), rows(9, 4))).sin().sum()
        value.backward()
        values.append(value.detach())
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.requires_grad})
    torch.testing.assert_close(values[0], values[1])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-6, rtol=1e-5)


def _noting(given, again):
    def called(function, *arguments):
        given.append(arguments)
        return again(function, *arguments)

    return called


@pytest.mark.parametrize("checkpoint", ["Bert", "DebertaV2", "DistilBert", "ModernBert"], indirect=True)
def test_gradient_checkpointing_saves_the_generators_of_dropout(checkpoint):
    """torch.utils.checkpoint saves the state of the devices of the tensors among its own arguments."""
    given = []
    model = load(checkpoint, dropout=0.1, gradient_checkpointing=True).train()
    for layer in model.modules():
        if getattr(layer, "gradient_checkpointing", False):
            again = layer._gradient_checkpointing_func
            layer._gradient_checkpointing_func = _noting(given, again)
    output(model, batch(load_tokenizer(str(checkpoint)), rows(9, 4))).sum().backward()
    assert given
    for arguments in given:
        assert any(isinstance(each, torch.Tensor) for each in tree_leaves(arguments))


# Where checkpoints lie


def test_folders_that_hold_a_checkpoint(bert, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(bert, run / "model")
    old = tmp_path / "sentence"
    shutil.copytree(bert, old / "0_Transformer")
    modules = [
        {"idx": 0, "name": "0", "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]
    (old / "modules.json").write_text(json.dumps(modules))
    wanted = load(bert).state_dict()
    for folder in (run, old):
        torch.testing.assert_close(load(folder).state_dict(), wanted)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.move(old / "0_Transformer" / name, old / name)
    assert Pretrained(model=str(old)).tokenizer(list, None).pad_id == PAD


def test_folders_that_hold_none(bert, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    two = tmp_path / "two"
    for name in ("query", "document"):
        shutil.copytree(bert, two / name)
    (two / "modules.json").write_text(json.dumps([{"path": "", "type": "sentence_transformers.models.Router"}]))
    cases = {
        "run": "has no model yet",
        "two": "has 0 transformers in its modules.json, not one; name the folder of one: .*document, .*query",
    }
    for name, message in cases.items():
        with pytest.raises(ConfigError, match=message):
            build({"_target_": "backbone/pretrained", "model": str(tmp_path / name)}, key="backbone")
    (two / "modules.json").write_text("[1]")
    with pytest.raises(ValueError, match="is not what sentence-transformers writes"):
        Pretrained(model=str(two))


# What a checkpoint lacks, or has too much


def test_one_line_says_what_does_not_match(bert, tmp_path, caplog):
    caplog.set_level(logging.INFO)
    load(bert)
    assert len(caplog.messages) == 1
    assert "loaded as BertModel; not used: " in caplog.text
    assert "cls.predictions" in caplog.text
    caplog.clear()
    write("Bert", tmp_path, "classifier", num_labels=3)
    load(tmp_path, "classifier")
    assert len(caplog.messages) == 1
    assert "newly initialised: classifier.bias, classifier.weight" in caplog.text
    caplog.clear()
    load(bert, "mlm")
    load(bert, "mlm", layers=2)
    assert not caplog.messages


def test_a_fresh_head_starts_near_the_identity(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write("Bert", tmp_path, "encoder")
    model = load(tmp_path, "mlm").eval()
    assert (
        "newly initialised: cls.predictions.bias, cls.predictions.decoder.bias, cls.predictions.transform"
        in caplog.text
    )
    assert "the new masked-language-model head is initialised near the identity" in caplog.text
    ids = torch.tensor(rows(9))
    with torch.no_grad():
        states = model.base_model(input_ids=ids).last_hidden_state
        transform, weight, bias = mlm.mlm_parts(model)
        wanted = torch.nn.functional.layer_norm(states, (16,)) @ weight.T + bias
        torch.testing.assert_close(model(input_ids=ids).logits, wanted, atol=1e-3, rtol=1e-3)
        with torch.autocast("cpu", torch.bfloat16):
            torch.testing.assert_close(
                transform(states), torch.nn.functional.layer_norm(states, (16,)), atol=1e-4, rtol=0
            )


def test_a_fresh_head_that_is_not_square_starts_at_random(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    write("Electra", tmp_path, "encoder")
    load(tmp_path, "mlm")
    assert "newly initialised: generator_lm_head.bias" in caplog.text
    assert "identity" not in caplog.text


def test_weights_that_are_missing_or_of_another_shape(copy):
    file = copy / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if name.endswith("layer.1.attention.self.query.weight"))
    save_file({key: value for key, value in weights.items() if key != name}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"layer\.1\.attention\.self\.query\.weight missing\. The files are"):
        load(copy)
    load(copy, layers=1)  # the layer is not needed
    save_file(weights | {name: torch.zeros(3, 3)}, file, {"format": "pt"})
    with pytest.raises(ConfigError, match=r"query\.weight has shape \(3, 3\) instead of \(16, 16\)\. The"):
        load(copy, "mlm")


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("keep", [0, 5, 3000])
def test_truncated_weights(copy, task, keep):
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(ConfigError, match=r"^model: the folder .* could not be loaded \(.*Give a folder that holds"):
        load(copy, task)


def test_other_damage(copy, tmp_path):
    (copy / "model.safetensors").rename(tmp_path / "away")
    with pytest.raises(ConfigError, match="could not be loaded"):
        load(copy)
    (copy / "pytorch_model.bin").write_bytes(b"PK\x03\x04 no zip at all")
    with pytest.raises(ConfigError, match="could not be loaded"):
        load(copy)
    (copy / "config.json").write_text(json.dumps({"model_type": "no_such_type"}))
    with pytest.raises(ConfigError, match="could not be loaded"):
        load(copy)


def test_a_checkpoint_in_pytorchs_own_format(copy):
    wanted = load(copy).state_dict()
    torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
    (copy / "model.safetensors").unlink()
    torch.testing.assert_close(load(copy).state_dict(), wanted)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (transformers.ViTConfig(hidden_size=16), "'vit', neither an encoder that reads in both directions nor"),
        (transformers.T5Config(d_model=16, num_layers=1), "'t5', an encoder with a decoder"),
        (transformers.BartConfig(d_model=16), "'bart', an encoder with a decoder"),
    ],
)
def test_models_that_are_no_encoders(config, message, copy):
    config.save_pretrained(copy)
    with pytest.raises(ConfigError, match=message):
        load(copy)


def test_tokenizers_that_do_not_fit(tmp_path, bert):
    source = Pretrained(model=str(bert))
    larger = load_tokenizer(str(bert))
    larger.tokenizer.add_tokens(["another", "one"])
    with pytest.raises(ConfigError, match="has 17 tokens, the model 15: they do not belong together"):
        source.model(larger, "encoder")
    write("Roberta", tmp_path / "roberta")
    padded = load_tokenizer(str(bert))
    padded.pad_id = 0
    with pytest.raises(ConfigError, match="pads with token 0, the model counts positions from token 1"):
        Pretrained(model=str(tmp_path / "roberta")).model(padded, "encoder")


@pytest.mark.parametrize(("keep", "lost"), [((), "tokenizer.json"), (("tokenizer.json",), None)])
def test_missing_tokenizer(copy, keep, lost):
    for path in copy.glob("*tokenizer*"):
        if path.name not in keep:
            path.unlink()
    if lost:
        with pytest.raises(ConfigError, match="could not be loaded"):
            load_tokenizer(str(copy))
    else:
        (copy / "tokenizer.json").write_text("{broken")
        with pytest.raises(ConfigError, match="could not be loaded"):
            load_tokenizer(str(copy))


def test_a_damaged_top(bert, tmp_path):
    source = Pretrained(model=str(bert))
    tokenizer = source.tokenizer(list, None)
    save(CrossEncoder(lambda task: source.model(tokenizer, task)), tokenizer, tmp_path)
    again = Pretrained(model=str(tmp_path))
    dense = Dense(lambda task: again.model(tokenizer, task))
    with pytest.raises(ConfigError, match=r"holds head\.bias, head\.weight, which do not fit this student"):
        load_top(dense, again)
    (tmp_path / "head.safetensors").write_bytes(b"xx")
    with pytest.raises(ConfigError, match="could not be loaded"):
        load_top(dense, again)


def test_what_starts_anew_on_top_is_listed(bert, tmp_path, caplog):
    caplog.set_level(logging.INFO)

    def start(make, folder):
        source = Pretrained(model=str(folder))
        tokenizer = source.tokenizer(list, None)
        made = make(lambda task: source.model(tokenizer, task))
        caplog.clear()
        load_top(made, source)
        return made, tokenizer

    made, tokenizer = start(ColBERT, bert)
    assert caplog.messages == [f"{bert}: not in the checkpoint, newly initialised: projection.weight"]
    save(made, tokenizer, tmp_path / "colbert")
    start(ColBERT, tmp_path / "colbert")
    assert not caplog.messages
    save(*start(lambda load: Dense(load, towers="separate"), bert), tmp_path / "dense")
    assert not caplog.messages  # the second is a copy of the first
    start(lambda load: Dense(load, towers="separate", learn_scale=True), tmp_path / "dense")
    assert caplog.messages == [f"{tmp_path / 'dense'}: not in the checkpoint, newly initialised: log_scale"]


def test_a_backbone_that_is_made_anew_takes_nothing_from_where_the_command_is_given(bert, tmp_path, monkeypatch):
    tokenizer = load_tokenizer(str(bert))
    source = Tiny(width=16, layers=1, heads=2)
    save(CrossEncoder(lambda task: source.model(tokenizer, task)), tokenizer, tmp_path)
    (tmp_path / "modules.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    made = CrossEncoder(lambda task: source.model(tokenizer, task))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    load_top(made, source)
    assert all(torch.equal(value, before[name]) for name, value in made.state_dict().items())


def test_segments_only_where_a_model_has_them(checkpoint):
    model = load(checkpoint)
    tokens = Tokens(torch.tensor(rows(4)), torch.ones(1, 6, dtype=torch.long), torch.zeros(1, 6, dtype=torch.long))
    given = "token_type_ids" in inputs(model, tokens)
    assert given == (model.config.model_type in ("bert", "electra", "albert"))


def test_the_small_bert_serves_every_task(bert):
    tokenizer = load_tokenizer(str(bert))
    source = Tiny(width=16, layers=1, heads=2, gradient_checkpointing=True, lora={"rank": 2})
    for task in TASKS:
        model = source.model(tokenizer, task).train()
        output(model, batch(tokenizer, rows(5))).square().sum().backward()
        grads = [p.grad for name, p in model.named_parameters() if "lora_B" in name]
        assert grads
        assert all(grad is not None and grad.abs().max() > 0 for grad in grads)


def gradients(model, states, weights):
    model.zero_grad()
    (states * weights).sum().backward()
    return {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}


def test_states_and_gradients_without_padding_are_those_with_it(checkpoint):
    model = load(checkpoint, dropout=0.0).train()
    tokens = batch(load_tokenizer(str(checkpoint)), rows(3, 30, 1, 9, 9, 17, 2, 10))
    real = tokens.attention_mask.bool()
    weights = torch.randn((*real.shape, model.config.hidden_size), generator=torch.Generator().manual_seed(1))
    weights[~real] = 0
    padded = model(**inputs(model, tokens)).last_hidden_state
    wanted = gradients(model, padded, weights)
    found = packing.states(model, tokens)
    assert torch.allclose(found[real], padded[real], atol=1e-5)
    made = gradients(model, found, weights)
    assert made.keys() == wanted.keys()
    assert all(torch.allclose(made[name], wanted[name], atol=1e-4, rtol=1e-4) for name in made)


def test_who_is_read_without_padding(checkpoint):
    model = load(checkpoint)
    assert (model.config._attn_implementation == packing.NAME) is (
        model.config.model_type not in ("mpnet", "deberta-v2")
    )


def test_attention_of_our_own_is_not_written_into_a_checkpoint(bert, tmp_path):
    model = load(bert)
    model.save_pretrained(tmp_path)
    assert packing.NAME not in (tmp_path / "config.json").read_text()
