"""Activations of models' layers: kept, found again, searched. See docs/intermediates.md."""
