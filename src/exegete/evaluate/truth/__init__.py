"""Ground truth: models whose mechanism is known because it was put there, and boards that hold methods against it."""
