"""The page in a real browser, started once: nothing fails, nothing is fetched, tables sort, figures are there."""

import json
import re
import shutil
import time

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains

from limbeck.config import ConfigError
from limbeck.evaluation.qrels import read_qrels
from limbeck.reporting.page.page import page
from limbeck.reporting.page.runs import read

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run",
    "--disable-component-update", "--disable-sync", "--window-size=1300,1000",
)  # fmt: skip

# Bokeh draws inside shadow roots, which a plain query does not enter.
DEEP = """
const found = [];
function walk(root) {
  for (const each of root.querySelectorAll('*')) {
    if (each.matches(arguments_[0])) found.push(each);
    if (each.shadowRoot) walk(each.shadowRoot);
  }
}
const arguments_ = arguments;
walk(document);
"""

PWN = "document.title='owned'"
EVIL = f'"><img src=q onerror="{PWN}"></script><script>{PWN}</script>$$x$$\\[y\\]'

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium with its chromedriver")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for word in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, Service(DRIVER))
    driver.get("about:blank")
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def judgments(cache):
    def opened(place):
        files = list(cache.glob(f"synthetic/*/qrels/{place.split}.tsv"))
        if not files:
            raise ConfigError("no world")
        return read_qrels(files[0])

    return opened


@pytest.fixture(scope="module")
def hostile(made, tmp_path_factory):
    """The sweep, with markup in all that users write."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    import yaml

    sweep = shutil.copytree(made, tmp_path_factory.mktemp("hostile") / f"<img src=q onerror={PWN.replace('/', '')}>")
    for number, path in enumerate(sorted(each.parent for each in sweep.glob("*/result.json"))):
        for file in path.glob("per_query/*.parquet"):
            table = pq.read_table(file).to_pydict()
            table["query_id"][0] = EVIL
            pq.write_table(pa.table(table), file)
        config = yaml.safe_load((path / "config.yaml").read_text())
        config["student"]["query_prefix"] = f"{EVIL}{config['seed']}"  # not that of a loss, or it would be no name
        (path / "config.yaml").write_text(yaml.safe_dump(config))
        env = json.loads((path / "env.json").read_text())
        env["overrides"] += [f"student.<b>{EVIL}={EVIL}{config['seed']}"]
        env["device"] = EVIL + str(number)
        (path / "env.json").write_text(json.dumps(env))
    for file in sweep.glob("*/error.txt"):
        file.write_text(f"Traceback\nError: {EVIL}\n")
    return sweep


@pytest.fixture(scope="module")
def shown(hostile, judgments, browser, tmp_path_factory):
    """Its page, loaded: what the browser said and asked for."""
    return load(browser, tmp_path_factory.mktemp("page") / "report.html", page(read(hostile), judgments))


def load(browser, path, text):
    path.write_text(text, encoding="utf-8")
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # of the page before
    browser.get(path.as_uri())
    until(lambda: browser.execute_script("return Bokeh.documents.length > 0 && Bokeh.documents[0].is_idle"))
    said = [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"]
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    # The browser's own start page and pictures that are part of the page.
    return said, [url for url in asked if not url.startswith(("chrome", "data:", "blob:"))], path


def until(true, seconds=30):
    start = time.monotonic()
    while not true():
        assert time.monotonic() < start + seconds, "the page does not get there"
        time.sleep(0.05)


def deep(browser, selector, then="return found"):
    return browser.execute_script(DEEP + then, selector)


def texts(browser, selector):
    return deep(browser, selector, "return found.map(each => each.textContent)")


def test_it_loads_without_errors_and_without_the_network(shown, browser):
    said, asked, path = shown
    assert said == []
    assert asked == [path.as_uri()]
    until(lambda: any(EVIL in text for text in texts(browser, ".slick-cell")))


def test_a_click_on_a_head_sorts(shown, browser):
    head = next(each for each in deep(browser, ".slick-header-column") if each.text == "run")
    head.click()
    until(lambda: ids(browser) == sorted(ids(browser)))
    up = ids(browser)
    assert len(up) == 4
    head.click()
    until(lambda: ids(browser) == up[::-1])


def ids(browser):
    """The ids of the runs from top to bottom; rows have places, not an order, in the document."""
    cells = deep(
        browser,
        ".slick-row",
        "return found.map(row => [row.getBoundingClientRect().top, row.querySelector('.slick-cell').textContent])",
    )
    return [text for _, text in sorted(cells) if re.fullmatch("[0-9a-f]{8}", text)]


def test_the_figures_are_drawn(shown, browser):
    sizes = deep(browser, "canvas", "return found.map(each => [each.width, each.height])")
    # Two legends; six curves or more, two scatters, three buckets or fewer, two of the weights.
    assert len(sizes) >= 10
    assert all(width > 0 and height > 0 for width, height in sizes)
    colours = deep(
        browser,
        "canvas",
        "return found.filter(each => each.width > 100 && each.height > 100).map(each => {"
        "const data = new Uint32Array(each.getContext('2d').getImageData(0, 0, each.width, each.height).data.buffer);"
        "return new Set(data).size})",
    )
    assert len(colours) >= 10
    assert sum(count > 8 for count in colours) >= 10


def test_a_click_on_a_legend_hides_lines_in_all_figures(shown, browser):
    def hidden():
        return browser.execute_script(
            "return [...Bokeh.documents[0]._all_models.values()].filter("
            "each => each.type == 'GlyphRenderer' && !each.visible).length"
        )

    assert hidden() == 0
    legend = deep(browser, "#curves .figure canvas, canvas")[0]
    ActionChains(browser).move_to_element_with_offset(
        legend, 20 - legend.size["width"] // 2, 14 - legend.size["height"] // 2
    ).click().perform()
    until(lambda: hidden() > 3)


def test_what_users_wrote_stays_text(hostile, shown, browser):
    assert browser.title == f"{hostile.name}: report"
    assert deep(browser, "img[src=q]") == []
    assert browser.find_element("css selector", "h1").text == hostile.name
    assert f"Error: {EVIL}" in browser.find_element("id", "unfinished").text
    assert EVIL in query_under_the_mouse(browser)
    assert browser.title == f"{hostile.name}: report"
    assert deep(browser, "img[src=q]") == []


def query_under_the_mouse(browser):
    """Move over the point of the hostile query in the first scatter; returns what is shown there."""
    place = browser.execute_script(
        """
        const all = [];
        function walk(view) { all.push(view); for (const child of view.children()) walk(child); }
        for (const root of Bokeh.index.roots) walk(root);
        const point = all.find(view => view.model.type == 'GlyphRenderer' && 'teacher' in view.model.data_source.data);
        const data = point.model.data_source.data;
        const at = [...data.query].indexOf(arguments[0]);
        const plot = point.plot_view;
        plot.el.scrollIntoView({block: 'center'});
        const box = plot.canvas_view.el.getBoundingClientRect();
        return [box.left + plot.frame.x_scale.compute(data.teacher[at]),
                box.top + plot.frame.y_scale.compute(data.student[at])].map(Math.round);
        """,
        EVIL,
    )
    actions = ActionChains(browser)
    actions.w3c_actions.pointer_action.move_to_location(*place)
    actions.perform()
    until(lambda: any(texts(browser, ".bk-tooltip, .bk-Tooltip, .bk-tooltip-row-value, .bk-tooltip-content")))
    return " ".join(texts(browser, ".bk-tooltip, .bk-Tooltip, .bk-tooltip-row-value, .bk-tooltip-content"))
