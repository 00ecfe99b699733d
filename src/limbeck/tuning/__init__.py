"""The search of ``limbeck tune``: what is searched, the study, one process a trial, the best as an experiment."""
