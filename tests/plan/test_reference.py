"""The page that describes every setting."""

from pathlib import Path

import pytest

from shoal.encode.encoders import ENCODERS
from shoal.plan.reference import reference, with_stages
from shoal.plan.stages import STAGES
from shoal.transform.pipeline import STEPS

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture(scope="module")
def page() -> str:
    """The page as it should be."""
    return reference(CONFIG)


def test_the_page_on_disk_is_what_settings_and_files_say(page: str):
    """A changed setting, description or file shows: run python -m shoal.plan.reference."""
    assert (CONFIG / "README.md").read_text() == page


def test_the_table_of_stages_is_what_their_descriptions_say():
    """A stage that is added or changed shows: run python -m shoal.plan.reference."""
    page = (CONFIG.parent / "docs" / "architecture.md").read_text()

    assert page == with_stages(page)
    for name in STAGES:
        assert f"\n| `{name}` | " in page


def test_every_setting_has_a_description(page: str):
    """Nobody has to read the code to learn what a setting means."""
    tables = page.partition("## Experiments")[2]
    rows = [line for line in tables.splitlines() if line.startswith("| `")]

    assert len(rows) > 100
    assert [row for row in rows if row.endswith("|  |")] == []


@pytest.mark.parametrize("kind", [*STEPS.values(), *ENCODERS.values()])
def test_every_option_of_a_step_or_encoder_has_a_description(kind):
    """The tables of steps and encoders leave no meaning out."""
    fields = kind.Options.model_fields

    assert [name for name, field in fields.items() if not field.description] == []


@pytest.mark.parametrize("path", sorted(CONFIG.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_every_file_of_every_group_is_on_the_page(page: str, path: Path):
    """A new choice or experiment appears by itself."""
    title = f"### {path.parent.name}={path.stem}"
    if path.parent.name == "experiment":
        title = f"- `{path.stem}`: "

    assert f"\n{title}" in page


def test_values_come_from_the_files(tmp_path: Path):
    """The page shows what a file holds, and its leading comment."""
    for path in CONFIG.rglob("*.yaml"):
        copy = tmp_path / path.relative_to(CONFIG)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(path.read_text())
    (tmp_path / "embed" / "pca.yaml").write_text(
        "# For a test.\nmethod: pca\nprefix: null\ndims: 17\n"
    )

    page = reference(tmp_path)

    assert "| `dims` | `17` | whole number above 0 | components kept" in page
    assert "Principal components of the training fold. For a test." in page


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_says_what_a_missing_value_becomes(page: str, name):
    """Its docstring, or that of a class above it, has a line ``Missing:`` for the page."""
    table = page.partition("## Encoders")[2].splitlines()
    row = next(line for line in table if line.startswith(f"| `{name}` | "))

    assert row.split(" | ")[3] != "-"
