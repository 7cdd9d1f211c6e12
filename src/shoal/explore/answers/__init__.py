"""Comparison of an experiment's choices: scores, shares of their variation, winners."""
