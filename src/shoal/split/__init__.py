"""split: typed rows with a key and a fold, from source files."""
