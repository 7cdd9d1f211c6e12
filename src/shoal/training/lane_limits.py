"""How many models share a program; imports no torch, so that plans can count on it."""

FEWEST, MOST = 8, 32
"""Models in a program; fewer are slower than one after the other, more hardly faster."""

HELD_BYTES = 1 << 28
"""Bytes of training rows, as read, that models side by side hold together, or one alone."""
