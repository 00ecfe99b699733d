"""Export of students to folders that sentence-transformers and transformers load."""
