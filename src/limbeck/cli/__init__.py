"""The verbs of the command line; the work itself is in ``limbeck.experiment``."""
