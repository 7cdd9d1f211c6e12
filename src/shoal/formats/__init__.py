"""Formats of what is read and written: files, hashes, tables, row stores, fitted state."""
