"""Analyses of evaluated systems, as pure functions over plain data, and their figures."""
