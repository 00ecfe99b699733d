"""A self-contained HTML page about the runs of a sweep: tables, curves, figures, settings, commands."""
