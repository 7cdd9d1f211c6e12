"""The pool: router, specialists and all fitted state in one folder."""
