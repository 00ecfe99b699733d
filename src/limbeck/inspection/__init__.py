"""Teacher scores looked at before training: checks by name, numbers, pictures."""
