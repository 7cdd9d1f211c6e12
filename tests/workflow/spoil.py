"""Ways to spoil an artifact of the small experiment, and what `shoal audit` then says."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner

from shoal.cli.operate import audit

app = typer.Typer()
app.command()(audit)


def one(pattern: str) -> Path:
    """The first file of the generation that a pattern finds."""
    return sorted(Path("results/tiny/g1").glob(pattern))[0]


def audited(*arguments: str) -> tuple[int, list[str]]:
    """Exit code and lines of `shoal audit tiny`."""
    result = CliRunner().invoke(app, ["tiny", *arguments], catch_exceptions=False)
    return result.exit_code, result.stdout.splitlines()


def blamed(*arguments: str) -> list[str]:
    """Paths that the audit names, after checking that it fails."""
    code, lines = audited(*arguments)
    assert code == 1, lines
    return [line.split(":")[0] for line in lines if line.startswith("results/")]


def flip(path: Path, place: int) -> None:
    """Change one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def swap(first: Path, second: Path) -> None:
    """Put each file in the other's place."""
    aside = first.with_name("aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)
