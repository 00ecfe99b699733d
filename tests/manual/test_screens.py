"""The help screens: stored, in 80 columns, cheap; and what they say is so."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from limbeck.config import ConfigError, entries, home
from limbeck.experiment.groups import defaults, without_null
from limbeck.experiment.words import check, with_name
from limbeck.losses import ranges
from limbeck.manual import keys, types
from limbeck.manual.screens import WIDTH, of_word
from limbeck.manual.verbs import PAGES, VERBS

STORED = Path(__file__).parent / "screens"


def test_the_screens_are_the_stored_ones(limbeck, request):
    """``python tests/manual/test_screens.py`` stores them anew."""
    for name, words in SCREENS.items():
        status, out, err = limbeck(*words, small=False)
        assert (status, err) == (0, "")
        assert out == (STORED / f"{name}.txt").read_text(encoding="utf-8"), name
        assert max(map(len, out.splitlines())) <= WIDTH, name


SCREENS = {
    "limbeck": ["--help"],
    **{verb: [verb, "--help"] for verb in VERBS},
    "key": ["help", "loss.ckl.gamma"],
    "group": ["help", "student"],
    "part": ["help", "loss=cl_drd"],
}


def test_no_heavy_library_is_imported():
    words = "limbeck", "train", "-h"
    heavy = "torch", "hydra", "transformers", "numpy", "pyarrow"
    program = (
        f"import sys; sys.argv = {list(words)}; from limbeck.cli.main import main; main(); "
        f"print([name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("loss.ckl.gamma", ["loss=ckl: number >= 0; default 5.0", "every exponent γ-β is positive", "/losses.md"]),
        ("trainer.chunk", ["whole number or null; default null", "(GradCache)"]),
        ("eval.metrics", ["default [ndcg@10,mrr@10,recall@100]", "on the dev split"]),
        ("data.collection", ["default synthetic", "An ir_datasets id"]),
        ("student.pooling", ["student=dense: mean, cls or last; default mean", "student=cross_encoder: "]),
        ("student.scale", ["student=dense: number; default 20.0", "student=colbert: number; default 1.0"]),
        ("loss.flops.weight", ["Factor of this term"]),
        ("seed", ["limbeck inspect, train, tune: whole number; default 1"]),
        ("paths.data", ["BEIR folders that experiments name"]),
        ("teacher.name", ["name of the teacher", "Verbs: import."]),
        ("teacher.student.pooling", ["teacher=cross_encoder, "]),
        ("comparison.level", ["limbeck evaluate, table: number; default 0.05"]),
        ("loss", ["Parts, loss=NAME", "  CKL, the contrastively weighted KL divergence.", "loss.ckl.gamma=5.0"]),
        ("loss.kl", ["loss=kl\n", "docs/reference/losses.md#kl"]),
        ("eval/fusion=weighted", ["eval.fusion.normalise="]),
        ("data.world", ["data.world.documents=2000", "Number of documents."]),
        ("eval.sets", ["eval/sets: a group of limbeck inspect, train, tune, evaluate", "Any BEIR folder"]),
        ("search", ["limbeck search: "]),
        ("new", ["limbeck VERB [GROUP=NAME ...]"]),
    ],
)  # fmt: skip
def test_any_word_of_the_configuration_is_explained(word, said):
    screen = of_word(word)
    for each in said:
        assert each in screen
    assert max(map(len, screen.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("word", "close"),
    [
        ("gamma", "loss.ckl.gamma or loss.focal_kl.gamma"),
        ("loss.ckl.gama", "loss.ckl.gamma"),
        ("ckl", "loss.ckl"),
        ("traner", "trainer"),
    ],
)
def test_an_unknown_word_gets_a_suggestion(word, close):
    with pytest.raises(ConfigError, match=f"^{word} is no key, group or verb; did you mean {close}"):
        of_word(word)


def test_where_other_keys_are_explained_is_said():
    with pytest.raises(ConfigError, match=r"Read on: docs/howto/tables\.md"):
        of_word("table.rows")
    with pytest.raises(ConfigError, match=r"^hydra\.mode is Hydra's: limbeck VERB --hydra-help"):
        of_word("hydra.mode")


@pytest.mark.parametrize("verb", VERBS)
def test_a_screen_speaks_of_what_there_is(verb):
    described = VERBS[verb]
    assert len(described.examples) == 3
    for page in described.page.split(", "):
        assert (home() / page).is_file()
    for example in described.examples:
        called, *words = shlex.split(example)
        assert called == verb
        words = with_name(words) if verb == "report" else [word for word in words if word != "-m"]
        check(words)
        without_null(verb, words)
        chosen = {group: value.strip("[]").split(",") for group, _, value in (word.partition("=") for word in words)}
        known = keys.of_verb(verb, chosen)
        for word in words:
            assert word.partition("=")[0] in {*known, *defaults(verb)}, word
    bare = yaml.safe_load((home() / "conf" / f"{verb}.yaml").read_text(encoding="utf-8"))
    lacking = set(bare) - {"defaults", "hydra", "teacher", "student", "candidates"} - set(keys.own(verb))
    assert not lacking, "write a comment behind each"


def test_the_pages_are_there():
    assert all((home() / page).is_file() for page in PAGES.values())


@pytest.mark.parametrize("entry", entries().values(), ids=lambda entry: f"{entry.kind}-{entry.name}")
def test_every_part_explains_its_options(entry):
    for item in entry.parameters:
        assert keys._text(entry, item).strip(), item.name
        assert not keys._text(entry, item).startswith("As in :"), item.name
    assert entry.doc


@pytest.mark.parametrize("name", ["Finite", "Positive", "NonNegative", "Share", "Count", "WholeNonNegative"])
def test_ranges_are_those_of_the_losses(name):
    rule = ranges.rule(getattr(ranges, name))
    assert isinstance(rule, ranges.Range)
    assert types.words(name).endswith(rule.words.removeprefix("a "))


if __name__ == "__main__":
    from limbeck.cli.main import main

    for name, words in SCREENS.items():
        sys.argv = ["limbeck", *words]
        with (STORED / f"{name}.txt").open("w", encoding="utf-8") as sys.stdout:
            main()
