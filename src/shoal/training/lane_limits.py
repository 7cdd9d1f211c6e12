"""How many models share a program; imports no torch, so that plans can count on it."""

FEWEST, MOST = 8, 32
"""Models in a program; fewer are slower than one after the other, more hardly faster."""

HELD_BYTES = 1 << 28
"""Bytes that models side by side hold together, or one alone: training rows, as read, and, where
trainings stop early, the validation rows that they look at and their best states."""
