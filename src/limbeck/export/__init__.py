"""Students as folders that sentence-transformers and transformers load."""
