"""Teachers: sources of the scores that students learn from."""
