"""Words that cannot be read: what is suggested instead is read, by a shell and by Hydra, as what was meant."""

import re
import shlex

import pytest

from limbeck.config import ConfigError
from limbeck.experiment.words import ambiguous, check, quoted, unreadable

PATHS = (
    "käse", "a=b", "a,b", "a(b", "it's", 'a"b', "a#b", "a&b", "a;b", "日 本/ü", "~/x", "a!b", "c:\\ü\\x", "ü\\", "é{b",
    "a>b|c", "name with = and, commas", "100%<é", "`é`", "\u00a0x",
)  # fmt: skip


def read(word):
    from hydra.core.override_parser.overrides_parser import OverridesParser

    return OverridesParser.create().parse_override(word)


@pytest.mark.parametrize("path", PATHS)
def test_the_quoting_that_is_shown_works(path):
    suggested = quoted(f"data.collection={path}")
    assert suggested is not None
    (word,) = shlex.split(suggested)
    found = read(word)
    assert found.key_or_group == "data.collection"
    assert found.value() == path
    if "," not in path:
        assert unreadable(f"data.collection={path}").endswith(suggested)
    else:
        assert suggested in ambiguous(f"data.collection={path}")


def test_the_words_of_a_list_are_quoted_one_by_one():
    (word,) = shlex.split(quoted("compare=[runs/é,runs/b,ü ü]"))
    assert [str(getattr(each, "text", each)) for each in read(word).value()] == ["runs/é", "runs/b", "ü ü"]


@pytest.mark.parametrize(
    ("words", "suggested"),
    [
        (["--seed=1"], "seed=1"),
        (["-seed=1"], "seed=1"),
        (["\u2014seed=1"], "seed=1"),  # what a word processor makes of two hyphens
        (["--loss.ckl.gamma=3", "a=b"], "loss.ckl.gamma=3"),
        (["--seed", "1"], "seed=1"),
        (["--seed", "a=b"], "seed=VALUE"),
        (["--dry_run=true"], "dry_run=true"),
        (["--data.collection=my käse"], "'data.collection=\"my käse\"'"),
    ],
)
def test_options_that_are_settings(words, suggested):
    with pytest.raises(ConfigError, match=re.escape(f"{words[0]} is no option; settings are written key=value: ")) as e:
        check(words)
    assert str(e.value).endswith(f": {suggested}")


def test_hydras_own_options_pass():
    check(
        ["--cfg", "job", "-m", "seed=1,2", "--config-dir", "my", "-cn", "train", "~data", "+a=1", "loss=[-1]", "a=-1"]
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--config-dir"], "Argument --config-dir/-cd: expected one argument"),
        (["--cfg=jo"], "invalid choice: 'jo'"),
        (["=3"], "=3 has no key"),
    ],
)
def test_options_of_hydra_that_are_wrong(words, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        check(words)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("gamma", "'gamma' is no override; settings are written key=value"),
        ("data.käse=3", "'data.käse' is no key"),
        ("loss=[a", "brackets and quotes must be closed"),
        ("a={b: 1", "brackets and quotes must be closed"),
    ],
)
def test_what_no_quoting_mends(word, message):
    assert message in unreadable(word)
