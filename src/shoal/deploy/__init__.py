"""Copies of a pool for devices, and patches from one to the next."""
