"""Training, and arithmetic that gives the same bits for the same work."""
