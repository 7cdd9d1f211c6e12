"""SQL queries over the results of an experiment: command ``query``."""
