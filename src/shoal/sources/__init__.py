"""Source files: rows as they lie in CSV, Parquet and NPZ, and what their columns are."""
