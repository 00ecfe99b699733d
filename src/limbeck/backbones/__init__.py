"""Where transformers come from and how they read."""
