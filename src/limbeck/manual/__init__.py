"""Help screens, explanations of keys, and completion in shells."""
