"""The base of every settings section: frozen, typed, with a description for each field."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shoal.errors import SettingsError
from shoal.formats.validation import explain, validated

Seed = Annotated[int, Field(ge=0, le=2**32 - 1, strict=True)]
"""A seed that every library takes: scikit-learn's and numpy's older generators stop at 32 bits."""


class Section(BaseModel):
    """Settings of one stage. Values come from ``config/``, never from defaults here."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False
    )

    def as_json(self) -> dict[str, Any]:
        """The settings as plain JSON values, the form of ids and of settings files."""
        return self.model_dump(mode="json", by_alias=True)


class NoOptions(Section):
    """The options of an encoder or a step that has none."""


def parse(kind: Any, content: Any, place: str) -> Any:  # noqa: ANN401 - any pydantic type
    """``content`` as ``kind``, or one line about the first thing that is wrong.

    Raises:
        SettingsError: A key is unknown (with the nearest known one), missing or of a wrong value.
    """
    try:
        return validated(kind, content)
    except ValidationError as error:
        raise SettingsError(explain(kind, error, place)) from None
