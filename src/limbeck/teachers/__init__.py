"""Teachers: where the scores that students learn from come from."""
