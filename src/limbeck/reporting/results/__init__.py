"""What runs and evaluations have left on disk: which there are, what they found, by system, set and query."""
