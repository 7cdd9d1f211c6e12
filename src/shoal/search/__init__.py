"""Points of the model's hyperparameter space, and how they are searched."""
