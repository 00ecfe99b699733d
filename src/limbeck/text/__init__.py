"""Texts to token ids to padded batches."""
