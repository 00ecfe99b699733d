"""Distillation losses: one pure function and one thin module a file."""
