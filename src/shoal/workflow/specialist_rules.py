"""What the rules that train specialists and choose among them ask of a plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import canonical_json
from shoal.plan.plan import Plan
from shoal.plan.slots import validation_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class SpecialistRules(Plan):
    """Inputs and texts by the wildcards of a slot or a decision."""

    def point(self, slot: str) -> str:
        """The grid point of a slot of the first step as JSON text, else null."""
        return canonical_json(self.grid.get(slot))

    def grid_text(self) -> str:
        """Every grid point of the first step by id, as JSON text."""
        return canonical_json(self.grid)

    def specialists(self, index: Mapping[str, Any]) -> list[Path]:
        """Weights of all specialists among which some are chosen."""
        entries = self.layout.specialised(index)
        return [path for entry in entries for path in self.layout.candidates(entry)]

    def choices(self, index: Mapping[str, Any]) -> list[Path]:
        """The choice of grid point of every partition that has a specialist."""
        return [self.layout.choice(entry) for entry in self.layout.specialised(index)]

    def compared(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - Snakemake's object
        """Weights that a decision compares."""
        search = self.layout.search(wildcards.digest, wildcards.validation)
        return search.compared(int(wildcards.step))

    def inputs_before(self, wildcards: Any) -> tuple[list[Path], list[Path]]:  # noqa: ANN401 - the same
        """The decision that fills a slot, one or none, and states that its step goes on from.

        A slot that is trained waits for neither: Snakemake would train it again where they are
        missing.
        """
        search = self.layout.search(wildcards.digest, validation_of(wildcards.slot))
        folder = self.layout.folder / "specialists" / wildcards.specialists_id / wildcards.digest
        slot = folder / wildcards.step / wildcards.slot
        is_trained = all((slot / name).exists() for name in search.outputs)
        return ([], []) if is_trained else search.before(int(wildcards.step))
