"""Registered parts are options of the command line without a YAML, and a YAML of the same name goes first."""

import pytest
import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

from limbeck.config import build, entries, home
from limbeck.experiment.groups import defaults, options
from limbeck.schemas import generated, store_schemas

PARTS = """
from limbeck.registry import register


@register("loss", "unlisted")
class Mine:
    def __init__(self, *, k: int = 5):
        self.k = k


@register("logger", "unlisted")
class Notes:
    def __init__(self, *, k: int = 6):
        self.k = k
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with a loss and a logger, which ``LIMBECK_PACKAGES`` names."""
    (tmp_path / "ownparts").mkdir()
    (tmp_path / "ownparts" / "__init__.py").write_text(PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("LIMBECK_PACKAGES", "ownparts")
    entries.cache_clear()
    yield
    monkeypatch.undo()
    entries.cache_clear()
    for group in ("loss", "logger"):
        ConfigStore.instance().repo[group].pop("unlisted.yaml", None)


def test_parts_of_a_package_are_chosen_without_any_yaml(package, compose):
    store_schemas()
    config = OmegaConf.to_container(compose("train", "loss=[kl,unlisted]", "logger=unlisted", "loss.unlisted.k=7"))
    assert [build(config["loss"]["unlisted"], key="loss.unlisted").k, build(config["logger"], key="logger").k] == [7, 6]
    assert "unlisted" in options("loss")


def test_a_yaml_of_the_user_goes_before_the_part_of_its_name(package, tmp_path, limbeck):
    (tmp_path / "my" / "loss").mkdir(parents=True)
    (tmp_path / "my" / "loss" / "unlisted.yaml").write_text(
        "defaults:\n  - /schema/loss@unlisted: unlisted\n  - _self_\nunlisted: {k: 8}\n"
    )
    theirs = [f"--config-dir={tmp_path / 'my'}"], [f"hydra.searchpath=[file://{tmp_path / 'my'}]"]
    for place, k in (([], 5), (theirs[0], 8), ([], 5), (theirs[1], 8)):
        status, out, err = limbeck("train", "--cfg", "job", *place, "loss=unlisted", small=False)
        assert status == 0, err
        assert yaml.safe_load(out)["loss"] == {"unlisted": {"_target_": "loss/unlisted", "k": k}}


def test_every_part_can_be_chosen():
    texts = [path.read_text() for path in (home() / "conf").rglob("*.yaml")]
    chosen = {f"{default}: {name}" for each in generated().values() for default, name in each.items()}
    for kind, name in entries():
        wanted = f"/schema/{kind}@_here_: {name}", f"/schema/{kind}@{kind}: {name}", f"/schema/{kind}@{name}: {name}"
        assert any(word in chosen or any(word in text for text in texts) for word in wanted), (kind, name)


def test_what_a_verb_takes_is_listed():
    known = {"data": None, "candidates": None, "backend": None, "launcher": "serial", "paths": "default"}
    assert defaults("search") == known
