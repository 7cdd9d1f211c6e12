"""Questions in SQL about what an experiment's runs have left: command ``query``."""
