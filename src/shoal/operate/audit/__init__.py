"""Whether every artifact is what the current index and settings say."""
