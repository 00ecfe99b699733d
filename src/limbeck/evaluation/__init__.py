"""Evaluation: from a ranker to runs and metrics."""
