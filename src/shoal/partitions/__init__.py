"""The partition index: written, read, and the rows that it leads to."""
