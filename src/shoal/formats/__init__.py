"""Formats of files that are read and written: tables, row stores, fitted state, JSON, hashes."""
