"""Formats of public teacher scores; each reads files as blocks of scored pairs."""
