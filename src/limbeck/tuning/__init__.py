"""The search of ``limbeck tune``: its space, the study, one process per trial, and the best as an experiment."""
