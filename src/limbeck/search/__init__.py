"""Search whole collections: encodings on disk, indexes over them, runs."""
