"""The table at the end of a sweep."""

from collections.abc import Sequence
from typing import Any

from limbeck.tables import show_sweep


def show(outcomes: Sequence[dict[str, Any]]) -> None:
    """Print what all runs share (first stage, teacher) once, then the student of each run by what was varied."""
    done = [outcome for outcome in outcomes if "result" in outcome]
    if not done:
        return
    settings = [dict(word.partition("=")[::2] for word in outcome["overrides"]) for outcome in done]
    varied = [key for key in settings[0] if any(setting.get(key) != settings[0].get(key) for setting in settings)]
    rows, seen = [], set()
    for outcome in done:
        for row in outcome["result"]["rows"]:
            values = {name: value for name, value in row.items() if name != "key"}
            if row["key"] != "student" and (mark := repr(values)) not in seen:
                seen.add(mark)
                rows.append(dict.fromkeys(varied, "") | values)
    for setting, outcome in zip(settings, done, strict=True):
        student = next(row for row in outcome["result"]["rows"] if row["key"] == "student")
        rows.append({key: setting.get(key, "") for key in varied} | {k: v for k, v in student.items() if k != "key"})
    words = [*varied, "system", "candidates"]
    result = done[0]["result"]
    show_sweep(rows, words, f"{outcomes[0]['name']}: {result['collection']} {result['split']}")
