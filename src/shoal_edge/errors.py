"""The errors of this package."""

from __future__ import annotations


class EdgeError(Exception):
    """A pool or rows cannot be used; the message is one line that says which and why."""


class PatchError(EdgeError):
    """The same of a patch, or of a pool that one is applied to."""
