"""Limbeck's losses in other libraries' trainers."""
