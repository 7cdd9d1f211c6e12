"""The one error of this package."""

from __future__ import annotations


class PatchError(Exception):
    """A patch or a pool cannot be used; the message is one line that says which and why."""
