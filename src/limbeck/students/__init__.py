"""Students: rankers that are trained."""
