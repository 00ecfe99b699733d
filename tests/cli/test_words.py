"""Words that cannot be read: what is suggested instead is read, by a shell and by Hydra, as what was meant."""

import re
import shlex

import pytest

from limbeck.config import ConfigError
from limbeck.experiment.groups import without_null
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
    if "," not in path and path[0] != "~":  # the shell reads ~, no quoting does
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
        ("out=~/x", '~ is expanded by the shell alone, and not after every =; write out="$HOME/x"'),
    ],
)
def test_what_no_quoting_mends(word, message):
    assert message in unreadable(word)


@pytest.mark.parametrize(
    ("verb", "words", "left"),
    [
        ("search", ["index=i", "backend=null", "data=null"], ["index=i"]),
        ("search", ["backend=faiss", "depth=3", "backend=null"], ["depth=3"]),
        ("search", ["backend=null", "backend=faiss"], ["backend=faiss"]),
        ("train", ["experiment=null", "debug=null", "sweeps=null", "-m"], ["-m"]),
        ("train", ["teacher={noise:1}", "loss=[kl,ckl]", "~data", "seed=null"], None),
        ("train", ["-m", "loss=kl,ckl", "student=glob(*)", "=3", "--cfg", "job", "backbone.lora=null"], None),
    ],
)
def test_null_is_left_out_where_it_is_what_there_is_anyway(verb, words, left):
    assert without_null(verb, words) == (words if left is None else left)


@pytest.mark.parametrize(
    ("verb", "word", "message"),
    [
        (
            "train",
            "teacher=null",
            "teacher=null: teacher takes the name of a part; teacher=none leaves it out\nchoose from: ",
        ),
        ("train", "student=null", "student=null: student takes the name of a part\nchoose from: colbert, "),
        ("train", "teacher=5", "teacher=5: teacher takes the name of a part\n"),
        ("train", "teacher=true", "teacher=true: teacher takes the name of a part\n"),
        ("train", "loss=[kl,null]", "loss=[kl,null]: loss takes the name of a part\n"),
        ("train", "experiment=null,small_dense", "experiment takes the name of a part\n"),
        ("index", "backend=null", "backend=null: backend takes the name of a part\nchoose from: exact, "),
        ("train", "+eval/sets@eval.sets.x=null", "eval/sets takes the name of a part\nchoose from: "),
        ("train", "teacher.backbone=tiny", "the part itself is chosen by backbone@teacher.backbone=tiny"),
        ("train", "candidates.parts=[bm25]", "the part itself is chosen by candidates/parts=[bm25]"),
    ],
)
def test_a_group_takes_names(verb, word, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        without_null(verb, [word])
