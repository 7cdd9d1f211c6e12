"""What a run is to make: paths, identities, code, shards, history. No torch, no Snakemake."""
