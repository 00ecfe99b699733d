"""Training with Lightning: trainer, objective, optimiser, checkpoints, callbacks and loggers."""
