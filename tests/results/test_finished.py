"""What is said of finished runs and evaluations."""

import pytest

from limbeck.config import ConfigError
from limbeck.reporting.results.finished import check_whole


def test_sets_that_are_missing_for_one_reason_share_a_line():
    reason = "eval.sets.{0}.collection: ir_datasets could not provide 'beir/{0}' (no connection)"
    sets = {name: {"missing": reason.format(name)} for name in ("nq", "fever")}
    sets |= {"own": {"missing": "eval.sets.own.collection: 'x' is no folder"}, "there": {"rows": []}}
    with pytest.raises(ConfigError) as refused:
        check_whole(sets)
    assert str(refused.value).splitlines() == [
        "3 of 4 sets are missing; the same command tries them again",
        "  nq, fever: eval.sets.NAME.collection: ir_datasets could not provide '…' (no connection)",
        "  own: eval.sets.own.collection: 'x' is no folder",
    ]
