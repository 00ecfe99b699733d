"""The checks by name: of the scores' completeness, scale and order."""
