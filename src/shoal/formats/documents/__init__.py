"""Kinds of the JSON documents in results: the keys that their readers rely on, and no more.

A kind goes to :func:`shoal.formats.json_file.read_json`, which refuses a document of another
in one line. Keys that no kind mentions stay. Each module imports nothing of Shoal's
but others of these, so that a stage's code does not change with that of the stage which writes
what it reads.
"""
