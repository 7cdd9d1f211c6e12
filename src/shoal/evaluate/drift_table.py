"""What drift looks like in a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats import text as formats

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

_COLOURS = {"keep": "green", "retrain": "yellow", "refit": "red"}
_HEADS = ("rows before", "arrived", "gone", "told apart", "p", "not covered", "loss")


def drift_table(content: Mapping[str, Any]) -> Table:
    """One line a partition and one for all rows, with the recommendation below.

    Args:
        content: What ``evaluate-drift`` wrote.
    """
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    advice = content["recommendation"]
    caption = Text(advice_text(advice), style=f"bold {_COLOURS[advice['action']]}")
    table = Table(box=SIMPLE_HEAD, caption=caption, caption_justify="left")
    table.add_column("partition", no_wrap=True)
    for head in _HEADS:
        table.add_column(head, justify="right", overflow="fold")
    for part in content["partitions"]:
        stale = part["partition"] in advice["partitions"]
        table.add_row(str(part["partition"]), *_cells(part), style="bold" if stale else None)
    table.add_section()
    table.add_row("all rows", *_cells(content["overall"]))
    return table


def advice_text(advice: Mapping[str, Any]) -> str:
    """A recommendation in one sentence: what to do, and why."""
    numbers = ", ".join(map(str, advice["partitions"]))
    what = {
        "keep": "Keep everything",
        "retrain": f"Retrain partition{'s' if len(advice['partitions']) > 1 else ''} {numbers}",
        "refit": "Refit the generation",
    }
    return f"{what[advice['action']]}: {advice['reason']}."


def _cells(part: Mapping[str, Any]) -> list[str]:
    counts = [formats.count_text(part[name]) for name in ("rows_before", "arrived", "gone")]
    shares = [part["beyond_before"], part["beyond_after"]]
    losses = [part.get("loss_before"), part.get("loss_after")]
    return [
        *counts,
        formats.share_text(part["accuracy"]),
        formats.NONE if part["p_value"] is None else f"{part['p_value']:.2g}",
        _pair([formats.share_text(share) for share in shares]),
        _pair([formats.number_text(loss, 3) for loss in losses]),
    ]


def _pair(texts: list[str]) -> str:
    return formats.NONE if set(texts) == {formats.NONE} else " → ".join(texts)
