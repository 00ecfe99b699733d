"""Data: from a collection to training batches."""
