"""Queries that are added leave the scores of the others valid; a query with another text is another one."""

from limbeck.scores.query_texts import changed, record


def test_what_has_changed_since_it_was_scored(tmp_path):
    texts = {"q1": "one", "q2": "two", "q3": "é\n"}

    def look_up(ids):
        return [texts[name] for name in ids]

    assert changed(tmp_path, list(texts), look_up) == []
    record(tmp_path, ["q1", "q2"], look_up)
    before = (tmp_path / "query_texts.arrow").stat().st_mtime_ns
    record(tmp_path, ["q2"], look_up)
    assert (tmp_path / "query_texts.arrow").stat().st_mtime_ns == before
    record(tmp_path, ["q3", "q1"], look_up)
    assert changed(tmp_path, list(texts), look_up) == []
    texts |= {"q3": "e\n", "q4": "new"}
    assert changed(tmp_path, list(texts), look_up) == ["q3"]
    assert changed(tmp_path, ["q1", "q4"], look_up) == []
