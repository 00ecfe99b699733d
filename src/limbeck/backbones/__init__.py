"""Backbones: sources of transformers and tokenizers, and how they encode texts."""
