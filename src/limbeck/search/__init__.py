"""Search at the size of a collection: encodings on disk, indexes over them, runs."""
