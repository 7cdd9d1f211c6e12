"""The plan of a run: paths, identities, code, shards, history. No torch, no Snakemake."""
