"""Slurm: what a run asks for, and what it took."""
