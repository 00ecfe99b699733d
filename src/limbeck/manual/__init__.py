"""What the command says about itself: help screens, explanations of keys, completion in shells."""
