"""Slurm: check of the settings, and summary of a run."""
