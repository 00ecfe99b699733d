"""The smallest run: a world, a student and a training of about a second."""

WORLD = [
    "data.world.documents=200",
    "data.world.topics=6",
    "data.world.train=60",
    "data.world.dev=10",
    "data.world.test=20",
]
STUDENT = ["backbone.width=16", "backbone.layers=1", "backbone.heads=2", "backbone.untrained=true"]
TRAINING = [
    "sampler.batch_size=4",
    "sampler.negatives=3",
    "trainer.accelerator=cpu",
    "trainer.steps=8",
    "trainer.validate_every=4",
    "trainer.checkpoint_every=4",
    "trainer.log_every=4",
    "trainer.precision=32-true",  # gives the same numbers on every processor
]
SMALL = [*WORLD, *STUDENT, *TRAINING]

QUICK = ["trainer.steps=2", "trainer.validate_every=0"]
"""Where nobody looks at the training."""
