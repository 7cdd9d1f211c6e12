"""Source files: rows of CSV, Parquet and NPZ, and the kinds of their columns."""
