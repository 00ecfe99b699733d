"""The score store: teacher scores with provenance, complete, checked, memory-mapped."""
