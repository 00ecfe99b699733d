"""Finished runs and evaluations on disk: find them, and read their results by system, set and query."""
