"""The checks by name: what is wrong with the scores' completeness, their scale, their order."""
