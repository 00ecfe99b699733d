import copy
import subprocess
import sys

import pytest
import yaml
from omegaconf import DictConfig, ListConfig

from composing import as_ever
from limbeck import config
from limbeck.config import ConfigError, build, entries, run_id


@pytest.mark.parametrize(
    "target",
    ["os.system", "torch.os.system", "torch.load", "lightning.os.system", "builtins.eval", "limbeck.config.os.system"],
)
def test_foreign_targets_do_not_run(target, tmp_path):
    proof = tmp_path / "ran"
    with pytest.raises(ConfigError, match=r"loss\.x\._target_"):
        build({"_target_": target, "_args_": [f"touch {proof}"]}, key="loss.x")
    with pytest.raises(ConfigError, match=r"loss\.x\.inner\._target_"):
        build({"_target_": "loss/kl", "inner": {"_target_": target}}, key="loss.x")
    assert not proof.exists()


def test_values_out_of_range_name_the_key():
    with pytest.raises(ConfigError, match=r"^loss\.ckl\.gamma must be > alpha"):
        build({"_target_": "loss/ckl", "gamma": 1.0, "alpha": 2.0}, key="loss.ckl")
    with pytest.raises(ConfigError, match=r"^optim\.lr must be > 0"):
        build({"_target_": "optim/adamw", "lr": 0.0}, key="optim")


def test_a_users_package_joins_the_registry(tmp_path, monkeypatch):
    package = tmp_path / "myparts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text(
        "from limbeck.registry import register\n\n"
        '@register("loss", "mine")\nclass Mine:\n    def __init__(self, *, k: int = 3) -> None:\n        self.k = k\n'
    )
    monkeypatch.syspath_prepend(tmp_path)
    node = {"_target_": "loss/mine", "k": 5}
    with pytest.raises(ConfigError, match="LIMBECK_PACKAGES"):
        build(node, key="loss.mine")
    monkeypatch.setenv("LIMBECK_PACKAGES", "myparts")
    entries.cache_clear()
    try:
        assert entries()["loss", "mine"].path == "myparts.mine.Mine"
        assert build(node, key="loss.mine").k == 5
    finally:
        monkeypatch.delenv("LIMBECK_PACKAGES")
        entries.cache_clear()


def test_what_tests_spare_hydra_changes_no_configuration(compose):
    calls = [
        ["train", "loss=[ckl,info_nce]", "data=collection", "student=colbert", "backbone.width=16", "seed=3"],
        ["train", "loss=[ckl,info_nce]", "data=collection", "student=colbert", "loss.ckl.gamma=7", "~teacher"],
        ["train", "loss=[ckl]", "teacher=dense", "backbone@teacher.backbone=tiny", "+sweep.own=[1]"],
        ["train", "loss=[kl]"],
        ["evaluate", "metrics=[mrr]", "+eval/sets@eval.sets.a=folder"],
        ["evaluate", "+eval/sets@eval.sets.b=folder", "eval.sets.b.collection=somewhere"],
    ]

    def composed():
        found = [compose(*words, own=True) for words in calls]
        assert {each.hydra.mode for each in found} == {None}  # no file sets it: Hydra.get_mode has nothing to read
        return [state(each) for each in found]

    spared = [composed(), composed()]
    with as_ever():
        assert [composed()] * 2 == spared


def test_a_copy_of_a_configuration_is_another_with_the_same_in_it(compose):
    config = compose("train", "loss=[kl]", own=True)
    once = copy.deepcopy(config)
    with as_ever():
        ever = copy.deepcopy(config)
    assert state(once) == state(ever) == state(config)
    once.loss.kl.weight = 7
    once.hydra.job.name = "other"
    assert state(ever) == state(config) != state(once)
    part = copy.deepcopy(config.loss)
    assert part.kl.weight == 1
    assert part._get_parent() is config


def state(node):
    """Return all that a node is, and whether those below it know it as their parent."""
    own = {key: value for key, value in vars(node._metadata).items() if key != "resolver_cache"}
    content = node._content if isinstance(node, DictConfig | ListConfig) else None
    if not isinstance(content, dict | list):
        return type(node), own, vars(node).get("_val"), content
    below = [*(content.items() if isinstance(content, dict) else enumerate(content))]
    assert all(each._get_parent() is node for _, each in below)
    return type(node), own, [(key, state(each)) for key, each in below]


def test_what_is_composed_once_is_composed_anew_from_another_file(limbeck, tmp_path):
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    for width in (16, 24):
        (tmp_path / "own" / "experiment" / "mine.yaml").write_text(
            f"# @package _global_\nbackbone: {{width: {width}}}\n{'#' * width}"
        )
        _, out, err = limbeck("train", "--cfg", "job", "--config-dir=own", "experiment=mine", small=False)
        assert yaml.safe_load(out)["backbone"]["width"] == width, err


def test_run_id_depends_on_what_is_computed_alone():
    base = {
        "loss": {"ckl": {"gamma": 5.0}},
        "seed": 1,
        "name": "a",
        "paths": {"runs": "x"},
        "logger": {},
        "force": False,
    }
    assert len(run_id(base)) == 8
    moved = {**base, "name": "b", "paths": {"runs": "y"}, "logger": {"mode": "online"}, "force": True}
    assert run_id(moved) == run_id(dict(reversed(base.items()))) == run_id(base)
    assert run_id({**base, "seed": 2}) != run_id(base)
    assert run_id({**base, "loss": {"ckl": {"gamma": 5.5}}}) != run_id(base)


def test_run_id_is_the_same_in_another_process():
    code = "from limbeck.config import run_id; print(run_id({'b': [1, 2.5, None], 'a': 'ä'}))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert told == run_id({"a": "ä", "b": [1, 2.5, None]}) + "\n"


def test_neither_import_limbeck_nor_composing_nor_verbs_without_models_import_what_is_heavy(tmp_path):
    (tmp_path / "a.trec").write_text("1 Q0 2 1 0.5 a\n")
    code = (
        "import sys, limbeck\n"
        "dir(limbeck), limbeck.ConfigError, limbeck.losses, dir(limbeck.losses)\n"
        "print(sorted({'torch', 'numpy', 'transformers', 'hydra', 'lightning'} & set(sys.modules)))\n"
        "from limbeck.cli.main import main\n"
        "for wrong in ('loss=[ckl,info_nce,flops,cl_drd] loss.ckl.gama=3', 'loss=kll'):\n"
        "    sys.argv = ['limbeck', 'train', *wrong.split()]\n"
        "    try:\n        main()\n    except SystemExit as stop:\n        assert stop.code == 2\n"
        "print(sorted({'torch', 'numpy', 'pyarrow', 'rich'} & set(sys.modules)))\n"
        "from limbeck.experiment import import_scores, report, table\n"
        "sys.argv = ['limbeck', 'import', 'format=trec_run', 'path=a.trec', 'out=scores', 'kind=logit']\n"
        "main()\n"
        "print(sorted({'torch', 'lightning', 'transformers', 'ranx', 'numba', 'wandb'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    before, composed, *_, after = done.stdout.splitlines()
    assert (before, composed, after) == ("[]", "[]", "[]"), done.stderr
    assert (tmp_path / "scores" / "meta.json").is_file()
    assert "gama" in done.stderr
    assert "did you mean gamma" in done.stderr
    assert "did you mean kl" in done.stderr


def test_the_checkout_is_home():
    assert (config.home() / "conf" / "train.yaml").is_file()
    assert (config.home() / "sweeps").is_dir()


def test_options_of_a_part_that_was_not_chosen_are_refused():
    with pytest.raises(ConfigError, match=r"loss\.ckl has options \(gamma\) but nothing that they belong to"):
        build({"gamma": 3}, key="loss.ckl")


@pytest.mark.parametrize(("value", "got"), [(None, "null"), (5, "5"), ("abc", "'abc'"), ([1], r"\[1\]")])
def test_a_value_where_a_part_belongs(value, got):
    for read in (build, config.part):
        with pytest.raises(
            ConfigError, match=rf"^loss\.kl takes no value, got {got}; set its options, loss\.kl\.OPTION=…,"
        ):
            read(value, key="loss.kl")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_options_are_finite(value):
    with pytest.raises(ConfigError, match=r"^teacher\.noise must be a finite number, got "):
        build({"_target_": "teacher/synthetic", "noise": value}, key="teacher")
