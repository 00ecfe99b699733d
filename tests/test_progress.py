"""Long work says how far it is: by a bar on a terminal, by lines in a log; short work says nothing."""

import io
import logging
import threading

import pytest
from rich.console import Console

from limbeck import progress
from limbeck.amounts import bytes_of
from limbeck.progress import Step, reported, show


class Clock:
    """Stands still until it is set."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "clock", clock)
    return clock


@pytest.fixture
def log(caplog, monkeypatch):
    caplog.set_level(logging.INFO, "limbeck")
    monkeypatch.setattr(progress, "_console", lambda: None)
    return caplog


@pytest.fixture
def terminal(monkeypatch):
    written = io.StringIO()
    monkeypatch.setattr(progress, "_console", lambda: Console(file=written, force_terminal=True, width=100))
    return written


def work(clock, seconds, step, counts, within=None):
    """Do pieces of a step that take some seconds each."""
    with step:
        for count in counts:
            step.begin(count)
            if within is not None:
                within()
            clock.now += seconds
            step.advance(count)


def test_a_log_has_an_estimate_a_line_a_minute_and_an_end(clock, log):
    work(clock, 5, Step("BM25 search", 1000, "queries", needs=lambda: "4.1 GB of memory"), [25] * 40)
    assert log.messages == [
        "BM25 search: 1,000 queries, about 3 min, 4.1 GB of memory",
        "BM25 search: 5 % of 1,000 queries, 5 queries/s, 3 min left",
        "BM25 search: 35 % of 1,000 queries, 5 queries/s, 2 min left",
        "BM25 search: 65 % of 1,000 queries, 5 queries/s, 70 s left",
        "BM25 search: 95 % of 1,000 queries, 5 queries/s, 10 s left",
        "BM25 search: 1,000 queries in 3 min, 5 queries/s",
    ]


def test_the_first_second_is_not_believed(clock, log):
    work(clock, 0.5, Step("work", 1000), [1, 1])
    assert log.messages == ["work: 1,000 texts, about 8 min"]


def test_what_takes_less_than_a_minute_is_not_estimated(clock, log):
    work(clock, 2, Step("work", 10), [1] * 10)
    assert log.messages == ["work: 50 % of 10 texts, 0.5 texts/s, 10 s left", "work: 10 texts in 20 s, 0.5 texts/s"]


def test_less_than_ten_seconds_show_nothing(clock, log, terminal):
    work(clock, 0.9, Step("work", 10), [1] * 10)
    assert log.messages == []
    assert terminal.getvalue() == ""


def test_without_a_total_there_is_a_rate_alone(clock, log):
    work(clock, 11, Step("reading", None, "lines"), [22_000])
    assert log.messages == ["reading: 22,000 lines, 2,000 lines/s", "reading: 22,000 lines in 11 s, 2,000 lines/s"]


def test_bytes_have_units_of_their_own(clock, log):
    work(clock, 30, Step("checksum", 3_000_000_000, "B"), [10**9, 10**9, 10**9])
    assert log.messages == [
        "checksum: 3 GB, about 90 s",
        "checksum: 33 % of 3 GB, 33 MB/s, 60 s left",
        "checksum: 100 % of 3 GB, 33 MB/s, 0 s left",
        "checksum: 3 GB in 90 s, 33 MB/s",
    ]
    assert [bytes_of(each) for each in (0, 999, 1000, 9_990_000)] == ["0 B", "999 B", "1 kB", "9.99 MB"]


def test_more_than_the_total_is_no_more_than_all(clock, log):
    work(clock, 20, Step("work", 10), [8, 8])
    assert "work: 80 % of 10 texts, 0.4 texts/s, 5 s left" in log.messages
    work(clock, 70, Step("more", 10), [8, 8])
    assert "more: 100 % of 10 texts, 0.11 texts/s, 0 s left" in log.messages


def test_a_terminal_has_one_line_that_is_drawn_again_and_goes(clock, log, terminal, monkeypatch):
    monkeypatch.setattr(progress, "_console", lambda: Console(file=terminal, force_terminal=True, width=100))
    work(clock, 5, Step("encoding", 40, "documents"), [10] * 4)
    written = terminal.getvalue()
    assert "25 % of 40 documents, 2 documents/s, 15 s left" in written
    assert "75 % of 40 documents, 2 documents/s, 5 s left" in written
    assert written.endswith("\x1b[2K")  # the line is erased
    # What the bar says is kept out of the terminal's log, and is in others.
    assert [progress.not_drawn(record) for record in log.records] == [False, False]


def test_without_a_bar_lines_pass_to_the_terminal(clock, log):
    work(clock, 30, Step("work", 10), [5, 5])
    assert all(progress.not_drawn(record) for record in log.records)


def test_no_bar_where_jobs_share_a_terminal(clock, log, terminal, monkeypatch):
    monkeypatch.setattr(progress, "_drawn", False)
    work(clock, 30, Step("work", 10), [5, 5])
    assert terminal.getvalue() == ""
    assert len(log.records) == 2


def test_a_part_moves_the_step_that_it_is_in(clock, log):
    outer = Step("collection", 100, "documents")
    with outer:
        outer.begin(50)
        with Step("encoding 50 documents", 10, "documents", part=True) as inner:
            for _ in range(9):
                clock.now += 10
                inner.advance(1)
        outer.advance(50)
    assert log.messages == [
        "collection: 100 documents, about 3 min",
        "collection: 5 % of 100 documents, 0.5 documents/s, 3 min left",
        "collection: 35 % of 100 documents, 0.5 documents/s, 2 min left",
        "collection: 50 documents in 90 s, 0.56 documents/s",
    ]


def test_a_piece_of_several_parts_is_done_when_the_last_is(clock, log):
    """And a part of a part counts as a share of the outer one."""
    shares = []
    reporting = progress.reporting_to(lambda label, done, total: shares.append(done / total))
    with reporting, Step("collection", 100, "documents") as outer:
        outer.begin(100, parts=2)
        for _ in range(2):
            with Step("scoring", 4, part=True) as middle:
                middle.begin(4)
                for _ in show([[1], [2]], 2, "encoding", part=True):
                    clock.now += 10
                middle.advance(4)
        outer.advance(100)
    assert shares == [0.25, 0.5, 0.75, 1.0]


def test_needs_are_said_as_soon_as_they_are_known(clock, log):
    answers = iter(["", "", "4.1 GB of memory"])
    work(clock, 20, Step("work", 10, needs=lambda: next(answers)), [1, 1, 1, 1])
    assert log.messages[:2] == ["work: 10 texts, about 3 min", "work: 10 % of 10 texts, 0.05 texts/s, 3 min left"]
    assert log.messages[2] == "work: needs 4.1 GB of memory"


def test_short_work_is_not_asked_what_it_needs(clock, log):
    work(clock, 5, Step("work", 4, needs=lambda: 1 / 0), [1, 1, 1, 1])


def test_a_part_of_nothing_is_a_step_of_its_own(clock, log):
    work(clock, 20, Step("encoding", 2, part=True), [1, 1])
    assert log.messages[-1] == "encoding: 2 texts in 40 s, 0.05 texts/s"


def test_a_step_within_another_reports_alone_and_costs_it_no_time(clock, log):
    def tokens():
        work(clock, 300, Step("tokens", 2), [1, 1])

    work(clock, 5, Step("index", 4), [1], within=tokens)
    assert [each for each in log.messages if each.startswith("tokens: ")]
    assert not [each for each in log.messages if each.startswith("index: ")]
    work(clock, 5, Step("index", 4), [1, 1, 1, 1])
    assert "index: 50 % of 4 texts, 0.2 texts/s, 10 s left" in log.messages


def test_an_error_ends_a_step_without_a_word(clock, log):
    def broken():
        clock.now += 20
        yield [1]
        raise RuntimeError

    with pytest.raises(RuntimeError):
        list(show(broken(), 2, "work"))
    assert log.messages == ["work: 50 % of 2 texts, 0.05 texts/s, 20 s left"]
    assert progress._running == []


def test_pieces_and_items_pass_as_they_are(clock, log):
    def slow():
        for piece in ([1, 2], [3]):
            clock.now += 30
            yield piece

    assert list(show(slow(), 3, "work")) == [[1, 2], [3]]
    assert log.messages[-1] == "work: 3 texts in 60 s, 0.05 texts/s"
    assert list(reported(range(10_000), 10_000, "stream", "items")) == list(range(10_000))
    stream = reported(iter("abc"), None, "stream", "items", block=1)
    assert next(stream) == "a"
    stream.close()
    assert progress._running == []


def test_threads_may_count_together(clock, log):
    with Step("work", 4000) as step:
        threads = [threading.Thread(target=lambda: [step.advance(1) for _ in range(1000)]) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert step.done == 4000


def test_other_libraries_draw_no_bars_into_a_file(monkeypatch):
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("sys.stderr", io.StringIO())
    progress.quiet_others()
    assert progress.os.environ["TQDM_DISABLE"] == "1"


def test_what_is_counted_after_the_end_says_nothing(clock, log):
    step = Step("work", 2)
    work(clock, 20, step, [1])
    said = list(log.messages)
    clock.now += 200
    step.advance(1)
    assert log.messages == said
