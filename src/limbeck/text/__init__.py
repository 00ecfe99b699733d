"""Tokenisation of texts, the token cache, and collation into padded batches."""
