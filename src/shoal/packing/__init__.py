"""Many small trainings in few processes: which go together, and their training."""
