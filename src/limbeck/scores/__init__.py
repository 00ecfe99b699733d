"""The score store: teacher scores with provenance and checksums, memory-mapped."""
