"""Do partitions pay? Pools against baselines, on data with and without regimes."""
