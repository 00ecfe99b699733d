"""From a ranker to runs and metrics."""
