"""The losses in configurations: every one composes, and an unknown or misplaced option is refused by name."""

import inspect
import os

import pytest
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from loss_worlds import LOSSES, NAMES, TERMS, function, made, options_of
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from limbeck.config import ConfigError, build, home
from limbeck.schemas import store_schemas


@pytest.fixture(scope="module", autouse=True)
def _hydra():
    before = os.environ.get("LIMBECK_HOME")
    os.environ["LIMBECK_HOME"] = str(home())
    store_schemas()
    with initialize_config_dir(config_dir=str(home() / "conf"), version_base="1.3"):
        yield
    if before is None:
        del os.environ["LIMBECK_HOME"]
    else:
        os.environ["LIMBECK_HOME"] = before


def terms(*overrides):
    return OmegaConf.to_container(compose("train", list(overrides)).loss, resolve=True)


def test_three_terms_compose_each_by_its_name():
    found = terms("loss=[ckl,info_nce,flops]", "loss.info_nce.weight=0.1", "loss.flops.document_weight=0.01")
    assert list(found) == ["ckl", "info_nce", "flops"]
    built = {name: build(node, key=f"loss.{name}") for name, node in found.items()}
    assert built["info_nce"].weight == 0.1
    assert built["flops"].document_weight == 0.01
    assert built["ckl"].gamma == 5.0


@pytest.fixture(scope="module")
def all_of_them():
    return terms(f"loss=[{','.join(NAMES)}]")


@pytest.mark.parametrize("name", NAMES)
def test_composes_and_builds_with_the_defaults_of_its_signature(name, all_of_them):
    found = all_of_them
    assert list(found) == NAMES
    term = build(found[name], key=f"loss.{name}")
    assert type(term) is type(made(name))
    assert getattr(term, "function", function(name)) is function(name)
    curriculum = {"top": {"kind": "step", "values": [5, 10, 30], "at": [10000, 20000]}}
    expected = {**options_of(name), **({"schedules": curriculum} if name == "cl_drd" else {})}
    assert {key: found[name][key] for key in expected} == expected
    assert set(found[name]) == {"_target_", *expected}


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(TERMS)))
def test_defaults_of_function_and_class_agree(name):
    options = options_of(name)
    for key, parameter in inspect.signature(function(name)).parameters.items():
        if key in options:
            assert options[key] == parameter.default, key


SHAPES = ["ckl", "kl", "info_nce", "flops"]
"""With words among its options and without; a class of its own on scores, and one beside them."""


@pytest.mark.parametrize("name", SHAPES)
def test_unknown_and_misplaced_options_are_refused_by_name(name):
    misplaced = next(
        key for other in NAMES for key in options_of(other)
        if key not in options_of(name)
    )  # fmt: skip
    for key in ("no_such_option", misplaced):
        with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
            terms(f"loss=[{name}]", f"loss.{name}.{key}=1")
        assert key in str(caught.value) + str(caught.value.__cause__)
    with pytest.raises(ConfigError, match=rf"^loss\.{name}\b.*{misplaced}"):  # a plus sign passes composition only
        build(terms(f"loss=[{name}]", f"+loss.{name}.{misplaced}=1")[name], key=f"loss.{name}")


@pytest.mark.parametrize("name", SHAPES)
def test_wrong_types_are_refused_by_name(name):
    typed = [item.name for item in LOSSES[name].parameters if item.type in (int, float, bool)]
    for key in {typed[0], typed[-1]}:
        with pytest.raises((HydraException, OmegaConfBaseException)) as caught:
            terms(f"loss=[{name}]", f"loss.{name}.{key}=much")
        assert key in str(caught.value) + str(caught.value.__cause__)


WHOLE = "loss.ckl.schedules={gamma:{kind:linear,start:2.0,end:5.0,steps:1000},weight:{kind:step,values:[0,1],at:[5]}}"
GAMMA, WEIGHT = "{kind:linear,start:2.0,end:5.0,steps:1000}", "{kind:step,values:[0,1],at:[5]}"
EACH = [f"+loss.ckl.schedules.gamma={GAMMA}", f"+loss.ckl.schedules.weight={WEIGHT}"]


@pytest.mark.parametrize("overrides", [[WHOLE], EACH], ids=["whole", "each"])
def test_schedules_compose(overrides):
    term = build(terms("loss=[ckl]", *overrides)["ckl"], key="loss.ckl")
    assert (term.gamma, term.weight) == (2.0, 0.0)
    term.at(500)
    assert (term.gamma, term.weight) == (3.5, 1.0)


def test_a_fixed_group_of_cl_drd():
    term = build(terms("loss=[cl_drd]", "loss.cl_drd.top=3", "loss.cl_drd.schedules=null")["cl_drd"], key="loss.cl_drd")
    term.at(10**6)
    assert term.top == 3


def test_out_of_range_names_the_key():
    with pytest.raises(ConfigError, match=r"^loss\.ckl\.gamma must be > alpha"):
        build(terms("loss=[ckl]", "loss.ckl.gamma=1.0")["ckl"], key="loss.ckl")
    node = "loss.ckl.schedules={gamma:{kind:linear,start:8,end:1,steps:7}}"
    with pytest.raises(ConfigError, match=r"^loss\.ckl.*schedules\.gamma is out of range at step 7"):
        build(terms("loss=[ckl]", node)["ckl"], key="loss.ckl")
