"""The documentation is complete, and its commands and code are right. ``make check`` runs these tests too."""

import ast
import importlib
import importlib.util
import inspect
import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml

import limbeck
import limbeck.integrations.sentence_transformers
from limbeck.config import home
from limbeck.docstrings import explained
from limbeck.evaluation.spelling import NAMES
from limbeck.experiment.groups import defaults, options
from limbeck.experiment.words import with_name
from limbeck.manual import keys, reference
from limbeck.manual.choices import groups
from limbeck.manual.verbs import VERBS

DOCS = home() / "docs"
PAGES = [home() / "README.md", *sorted(DOCS.rglob("*.md"))]
MADE = ("losses.md", "checks.md", "errors.md")
"""Written by programs that have tests of their own."""


def ids(page):
    return str(page.relative_to(home()))


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


# -- the reference --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", groups())
def test_every_key_of_a_group_is_documented(group):
    for part, key in ((each.name, each.key) for each in reference.keys_of(group)):
        assert key.text.strip(), f"{group}={part}: {key.name} has no line in a docstring or comment"
    for name in options(group):
        assert reference.title(group, name).strip(), f"{group}={name} has no line that says what it is"


@pytest.mark.parametrize("verb", VERBS)
def test_every_key_of_a_verb_is_on_a_page(verb):
    for key in keys.of_verb(verb).values():
        assert key.text.strip(), f"{verb}: {key.name} has no line in a docstring or comment"
    known = {each.key.name for group in groups() for each in reference.keys_of(group)}
    known |= {each.name for each in reference.keys_of_verb(verb)}
    assert set(keys.of_verb(verb)) | set(keys.own(verb)) <= known


def test_the_pages_of_the_configuration():
    made = reference.pages()
    title, text = made["reference/configuration/loss.md"]
    assert title == "loss"
    assert "| `loss.ckl.gamma` | number &gt;= 0 | `5.0` | γ and α with γ &gt; α ≥ 0" in text
    assert "| `teacher.student.pooling` | mean, cls or last |" in made["reference/configuration/teacher.md"][1]
    index = made["reference/configuration/index.md"][1]
    assert "### limbeck search" in index
    assert "| *must be given* |" in index
    assert "| `comparison.level` | number | `0.05` |" in index


def public():
    """Return the functions and classes of the page on Python: dotted path → object."""
    text = (DOCS / "reference" / "python.md").read_text(encoding="utf-8")
    found = {}
    for block in re.findall(r"^::: (.*(?:\n    .*)*)", text, re.MULTILINE):
        path, _, rest = block.partition("\n")
        members = re.search(r"members: \[(.*)\]", rest)
        names = [f"{path}.{name}" for name in members[1].split(", ")] if members else [path]
        for name in names:
            module, _, last = name.rpartition(".")
            found[name] = getattr(importlib.import_module(module), last)
    return found


def test_everything_public_is_on_a_page():
    here = set(public().values())
    for name in set(limbeck.__all__) - {"losses"}:
        assert getattr(limbeck, name) in here, f"limbeck.{name} is missing in docs/reference/python.md"
    for name in limbeck.integrations.sentence_transformers.__all__:
        assert getattr(limbeck.integrations.sentence_transformers, name) in here, name


@pytest.mark.parametrize("path", public())
def test_parameters_and_results_are_documented(path):
    found = public()[path]
    functions = {path: found}
    if inspect.isclass(found):
        functions = {f"{path}.{name}": each for name, each in vars(found).items() if inspect.isfunction(each)}
        assert inspect.getdoc(found)
    for name, function in functions.items():
        if name.rpartition(".")[2].startswith("_"):
            continue
        doc = inspect.getdoc(function)
        assert doc, name
        taken = [each for each in inspect.signature(function).parameters if each not in ("self", "cls")]
        described = {word.strip("*") for each in explained(doc) for word in [each.split(" :")[0]]}
        # One parameter of a method of one line needs no section, if the line names it.
        assert set(taken) <= described or all(re.search(rf"\b{each}\b", doc) for each in taken), name


def test_every_metric_has_a_formula():
    text = (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^\| `([\w-]+)(?:\.P)?` \|", text, re.MULTILINE)) == sorted(NAMES)


# -- blocks of code -------------------------------------------------------------------------------------------------


def commands(page):
    lines = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    found = (re.match(r"(?:\w+=\S+ )*limbeck (.*)", line.strip()) for line in lines)
    return [each[1] for each in found if each]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name not in MADE and commands(page)], ids=ids)
def test_commands_name_verbs_groups_parts_and_keys_that_exist(page):
    for command in commands(page):
        verb, *words = shlex.split(command.replace(" --cfg job", ""), comments=True)
        if verb not in VERBS:
            assert verb in ("new", "help", "completion"), command
            continue
        if any(word.startswith("--config-dir") or "=my_" in word or "sharp_kl" in word for word in words):
            continue  # parts of the reader's own
        words = with_name(words) if verb == "report" else words
        given = dict(word.lstrip("+~").partition("=")[::2] for word in words if not word.startswith(("-", "…")))
        known = {*keys.of_verb(verb), *defaults(verb), *groups()}
        chosen = {group: value.strip("[]").split(",") for group, value in given.items() if group in groups()}
        for group, names in chosen.items():
            for name in names:
                if name.startswith("$") or name in ("NAME", "null"):
                    continue
                name = name.strip("[]'\"")
                assert name in options(group), f"{command}: {group} has no part {name}"
                known |= set(keys.of_option(group, name))
        for key in given:
            root = key.partition("@")[0]
            assert root in known or any(each.startswith(f"{root}.") for each in known) or own_key(root, known), (
                f"{command}: there is no {key}"
            )


def own_key(key, known):
    """Return whether a key lies in a mapping whose names are the user's: ``checks.NAME``, sets of an evaluation."""
    parent = key.rpartition(".")[0]
    return bool(parent) and (parent in known or own_key(parent, known))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=ids)
def test_python_is_python_and_imports_what_there_is(page):
    for block in blocks(page, "python"):
        if page.name == "losses.md" and re.match(r"\w+\(student|\w+\(", block):
            continue  # signatures
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "limbeck":
                module = importlib.import_module(node.module)
                assert all(hasattr(module, each.name) for each in node.names), block


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml") or blocks(page, "json")], ids=ids)
def test_yaml_and_json_can_be_read(page):
    assert all(yaml.safe_load(block) is not None for block in blocks(page, "yaml"))
    assert all(json.loads(block) for block in blocks(page, "json"))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_pages_say_it_in_plain_words(page):
    """Words that the field does not use: errors are messages, files lie in folders, numbers are shown."""
    text = re.sub(r"^```.*?^```$|`[^`]*`", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert not re.findall(r"\b(?:is|are|was|were|un)\s*told\b|\bbecame of\b|\bgone on with\b", text)


# -- formulas and links ---------------------------------------------------------------------------------------------


def hook(name):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("needs the extra docs")
    spec = importlib.util.spec_from_file_location(name, DOCS / "hooks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_formulas_become_mathml(caplog):
    mathematics = hook("mathematics")
    from markdown import Markdown

    page = Markdown(extensions=[mathematics.Mathematics(), "pymdownx.superfences", "tables"])
    html = page.convert("A $`q_i^{γ}`$.\n\n```math\n\\frac{a}{b}\n```\n\n| a |\n|---|\n| $`\\min(x)`$ |\n")
    assert html.count("<math ") == 3
    assert "<mfrac><mrow><mi>a</mi></mrow><mrow><mi>b</mi></mrow></mfrac>" in html
    assert not caplog.records
    page.convert("$`\\nonsense`$")
    assert "latex2mathml does not know: \\nonsense" in caplog.text


def test_a_deviation_stays_with_its_sign():
    assert hook("numbers").on_page_content("<td>0.911 ± 0.013▲</td>") == "<td>0.911 ±\N{NO-BREAK SPACE}0.013▲</td>"


def test_links_leave_the_pages_for_what_exists(caplog):
    links = hook("links")
    linked = links.on_page_markdown(
        "[a](../results.md#x) [b](../../CHANGELOG.md) [c](../../examples/pytorch_loop.py) "
        "![d](../figures/ckl_weights.png)"
        "\n```\n[e](nowhere.md)\n```\n",
        type("Page", (), {"file": type("File", (), {"src_uri": "howto/speed.md"})}),
    )
    assert linked.startswith("[a](../results.md#x) [b](../changes.md) c ![d](../figures/ckl_weights.png)")
    assert not caplog.records
    links.on_page_markdown("[a](nowhere.md)", type("Page", (), {"file": type("File", (), {"src_uri": "results.md"})}))
    assert "docs/results.md links to nowhere.md, which does not exist" in caplog.text


def test_a_broken_link_ends_the_build(tmp_path):
    """By the command of ``make docs``: with ``--quiet``, MkDocs would count no warning."""
    pytest.importorskip("mkdocs")
    (command,) = re.findall(
        r"^docs:.*\n\t(?:\w+=\S+ )*\$\(BIN\)/python (-m mkdocs .*)$", (home() / "Makefile").read_text(), re.MULTILINE
    )
    assert "\nstrict: true\n" in (home() / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text("[a](nowhere.md)\n")
    hooks = f"hooks: [{DOCS}/hooks/links.py]\nvalidation: {{links: {{not_found: info}}}}\n"
    (tmp_path / "mkdocs.yml").write_text(f"site_name: x\nstrict: true\ntheme: mkdocs\n{hooks}")
    done = subprocess.run([sys.executable, *command.split()], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "links to nowhere.md, which does not exist" in done.stderr


def test_every_page_is_in_the_navigation():
    text = (home() / "mkdocs.yml").read_text(encoding="utf-8")
    made = ["index.md", "changes.md", "benchmarks.md"]
    listed = re.findall(r"([\w/]+\.md)$", text, re.MULTILINE)
    assert sorted(listed) == sorted([*made, *(page.relative_to(DOCS).as_posix() for page in PAGES[1:])])


def test_pages_that_the_sources_name_exist():
    for path in [*(home() / "src").rglob("*.py"), *(home() / "conf").rglob("*.yaml"), *(home() / "sweeps").glob("*")]:
        for name in re.findall(r"\bdocs/[\w/]+\.md", path.read_text(encoding="utf-8")):
            assert (home() / name).is_file(), f"{path} names {name}"
