"""Base, specialists and the choice of grid point."""
