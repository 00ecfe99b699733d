"""Analyses of evaluated systems, as pure functions of plain data."""
