"""A function that a step calls."""


def jitter(value, rng):
    """The value and some noise."""
    return value + rng.normal()
