"""``limbeck report`` as it is typed."""

import pytest

RUN = ["train", "name=one", "loss=[ckl]", "trainer.validate_every=0", "eval.start=false"]


@pytest.fixture
def one(limbeck):
    status, _, told = limbeck(*RUN)
    assert status == 0, told


def test_a_bare_word_is_the_name(limbeck, one, tmp_path, cache):
    status, _, told = limbeck("report", "one", f"paths.cache={cache}", small=False)
    assert status == 0, told
    page = (tmp_path / "runs" / "one" / "report.html").read_text()
    assert "report.html: " in told
    assert "<title>one: report</title>" in page
    assert "No run has validated" in page
    assert "one configuration only" in page
    assert "lists × mean documents per list: CKL" in page  # the judgments were found by the configuration of the run

    status, _, told = limbeck("report", "name=one", "out=other/page.html", f"paths.cache={cache}", small=False)
    assert status == 0, told
    assert (tmp_path / "other" / "page.html").is_file()

    (tmp_path / "runs").rename(tmp_path / "moved")
    status, _, told = limbeck("report", "moved/one/", f"paths.cache={cache}", small=False)
    assert "moved/one/report.html: " in told
    (tmp_path / "moved").rename(tmp_path / "runs")

    status, _, told = limbeck("report", "one", "baseline=bkl", f"paths.cache={cache}", small=False)
    assert status == 2
    assert "baseline: 'bkl' is no configuration (ckl)" in told


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "name must be given"),
        (["nowhere"], "name: there is no folder runs/nowhere"),
        (["it's (here), isn't it?"], "it's (here), isn't it?"),
        (["nowhere", "gamma=3"], "gamma"),
        (["nowhere", "more"], "'more' is no override"),
        (["nowhere", "out=."], "out: . is a folder"),
    ],
)
def test_what_cannot_be_meant_is_refused(limbeck, words, message):
    status, _, told = limbeck("report", *words, small=False)
    assert status == 2
    assert message in told
    assert "Traceback" not in told


def test_the_configuration_is_shown_without_a_name(limbeck):
    status, out, _ = limbeck("report", "--cfg", "job", small=False)
    assert status == 0
    assert "baseline: null" in out
