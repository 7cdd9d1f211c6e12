"""The pool and its rivals, judged on the test fold."""
