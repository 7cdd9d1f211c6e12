"""Where tests let ``split`` write."""

from pathlib import Path


def split_files(table: Path) -> tuple[Path, Path, Path]:
    """Files that ``split`` writes: the table, and beside it hashes and sample."""
    folder, name = table.parent, table.stem
    return table, folder / "hashes" / f"{name}.safetensors", folder / "sample" / f"{name}.parquet"
