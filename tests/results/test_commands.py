"""Commands under tables and reports: as people type them, and as Hydra reads them."""

import shlex

from hydra.core.override_parser.overrides_parser import OverridesParser

from limbeck.reporting.results.commands import command


def test_colons_that_need_no_backslash_have_none():
    swept = [r"backbone.model=package\:x/model", r"paths.runs=C\:/runs", r"pool.denoise={absolute\:1: 2}"]
    made = command({"overrides": swept})
    assert made == r"limbeck train backbone.model=package:x/model paths.runs=C:/runs 'pool.denoise={absolute\:1: 2}'"
    parser = OverridesParser.create()
    again = shlex.split(made)[2:]
    assert [parser.parse_override(each).value() for each in again] == [
        parser.parse_override(each).value() for each in swept
    ]
