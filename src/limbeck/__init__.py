"""Limbeck distils rankers from teacher scores."""

__version__ = "0.1.0"
