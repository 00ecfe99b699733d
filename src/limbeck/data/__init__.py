"""From a collection to training batches."""
