"""Random scripts of edits against the real workflow, judged by an independent oracle."""
