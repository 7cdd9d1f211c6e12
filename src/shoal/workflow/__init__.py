"""Functions that the Snakefile calls. They do not import torch."""
