"""What ``shoal intermediates keep`` and ``list`` print."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.table import Table

    from shoal.explore.intermediates.store import Intermediates


def kept_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What is kept of each layer and form that was asked for; times are predictions."""
    from rich.filesize import decimal
    from rich.table import Table

    table = Table(box=None, header_style="bold", padding=(0, 1, 0, 0))
    table.add_column("layer", overflow="fold", min_width=8)
    table.add_column("form", no_wrap=True)
    for name in ("blocks", "different", "kept", "size", "read/row", "recompute"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("others")
    for row in rows:
        table.add_row(
            row["layer"],
            row["form"],
            *(f"{row[name]:,}" for name in ("wanted", "distinct", "kept")),
            decimal(row["bytes"]),
            *(f"{1e6 * row[name]:.3g} µs" for name in ("read", "recompute")),
            row["note"],
        )
    return table


def summary(store: Intermediates) -> str:
    """How much there is, in one line."""
    from rich.filesize import decimal

    record = store.catalogue.record
    asked = len(record.get("requests", []))
    blocks = len(store.catalogue.entries)
    return (
        f"{store.folder}: {blocks:,} blocks, {decimal(store.catalogue.size)} of "
        f"{decimal(record.get('budget', 0))}; {asked} requests"
    )
