"""One short module a verb."""
