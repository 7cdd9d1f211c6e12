"""Command ``answers``: compare an experiment's choices in tables, plots and a page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.explore.answers.curves import costs, curves
from shoal.explore.answers.gather import known
from shoal.explore.answers.page import answers_page
from shoal.explore.answers.plots import plots
from shoal.explore.answers.tables import compare
from shoal.formats.files import replacing
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import write_json
from shoal.formats.text import value_text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shoal.explore.answers.tables import Row


def answers(runs: Sequence[Path], out: Path) -> None:
    """Compare the published variants of an experiment, and their grid points.

    Like a release, the answers are recorded last, and those before are withdrawn first.

    Args:
        runs: The settings file of each variant.
        out: The record, which says that they are there, and of which releases. Tables (Parquet),
            plots (SVG) and ``report.html`` are written to the folder above its own.

    Raises:
        SourceError: A variant is not published.
    """
    found, folder = [known(path) for path in runs], out.parents[1]
    for path in out.parent.glob("*.json"):
        path.unlink()
    compared = compare(found)
    drawn = plots(compared)
    kept = {folder / "report.html"}
    for name, rows in compared.tables.items():
        kept |= _write_table(folder / f"{name}.parquet", rows)
    for name, svg in drawn.items():
        kept |= _write_text(folder / f"{name}.svg", svg)
    known_costs = {each.variant: costs(run) for each, run in zip(found, runs, strict=True)}
    page = answers_page(compared, drawn, curves(known_costs, compared))
    _write_text(folder / "report.html", page)
    for path in folder.glob("*.*"):
        if path not in kept:  # of answers before, about more than there is now
            path.unlink()
    releases = {each.variant: each.release for each in found}
    files = {path.name: file_hash(path) for path in sorted(kept)}
    write_json(out, {"releases": releases, "files": files})


def _write_text(path: Path, text: str) -> set[Path]:
    with replacing(path) as aside:
        aside.write_text(text)
    return {path}


def _write_table(path: Path, rows: Sequence[Row]) -> set[Path]:
    """The rows as Parquet; nothing where there are none."""
    import pyarrow as pa
    import pyarrow.parquet

    if not rows:
        return set()
    table = pa.table({name: _array([row[name] for row in rows]) for name in rows[0]})
    with replacing(path) as aside:
        pyarrow.parquet.write_table(table, aside)
    return {path}


def _array(values: list[Any]) -> Any:  # noqa: ANN401 - pyarrow's
    """Values of one type as they are, others as text."""
    import pyarrow as pa

    kinds = {float if isinstance(v, float) else type(v) for v in values if v is not None}
    if kinds <= {int, float} or (len(kinds) == 1 and kinds <= {str, bool}):
        return pa.array(values, pa.float64() if float in kinds else None)
    return pa.array([None if v is None else value_text(v) for v in values], pa.string())
