"""Inspect teacher scores before training: checks by name, numbers, figures."""
