"""Pages made from Jinja templates: self-contained, with all text escaped."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from shoal.formats import text

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_PACKAGE = Path(__file__).parents[1]


def render(template: str, title: str, **content: object) -> str:
    """Render one self-contained page; the same input gives the same text.

    Args:
        template: File in this package, such as ``report/evaluation.html.jinja``. It extends
            ``report/page.html.jinja``. Templates in the folder of a module count as its code.
        title: Follows Shoal's name in the page's title.
        content: The template's variables. Text is escaped, see :func:`svg`. The functions of
            :mod:`shoal.formats.text` are filters.
    """
    return _environment().get_template(template).render(title=title, **content)


def svg(drawn: str) -> Markup:
    """Mark SVG as safe: this package draws it from numbers and from text that it has escaped."""
    from markupsafe import Markup

    return Markup(drawn)  # noqa: S704 - see above


@cache
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_PACKAGE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {n: each for n, each in vars(text).items() if n.endswith("_text")}
    return environment
