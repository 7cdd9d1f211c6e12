"""What the Snakefile needs to know: ids, paths, shards, inputs. Does not import torch."""
