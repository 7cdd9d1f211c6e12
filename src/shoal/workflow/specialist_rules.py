"""What the rules that train, rank and choose specialists ask of a plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.formats.hashing import canonical_json
from shoal.plan.plan import Plan
from shoal.plan.slots import validation_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class SpecialistRules(Plan):
    """Specialists, and paths and texts by the wildcards of a rung's slot or ranking."""

    def point(self, identifier: str) -> str:
        """A grid point as JSON text."""
        return canonical_json(self.grid[identifier])

    def grid_text(self) -> str:
        """Every grid point by id, as JSON text."""
        return canonical_json(self.grid)

    @property
    def specialist_logs(self) -> Path:
        """Folder of the specialists' logs, each as if it had trained alone."""
        folder = Path(self.layout.generation, "train_specialist", self.layout.made["specialists"])
        return self.logs / folder

    def candidates(self, digest: str, validation: str) -> list[Path]:
        """Weights among which the specialist of a partition with these rows is chosen."""
        digests = {"train": digest, "validation": validation}
        return self.layout.candidates({"trained": True, "specialist": digest, "digests": digests})

    def specialists(self, index: Mapping[str, Any]) -> list[Path]:
        """Weights of all specialists among which some are chosen."""
        entries = self.layout.specialised(index)
        return [path for entry in entries for path in self.layout.candidates(entry)]

    def choices(self, index: Mapping[str, Any]) -> list[Path]:
        """The choice of grid point of every partition that has a specialist."""
        return [self.layout.choice(entry) for entry in self.layout.specialised(index)]

    def ranking_before(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - Snakemake's object
        """What says which point goes on in a slot; a list of none on the first rung, or one."""
        rung = int(wildcards.rung)
        validation = validation_of(wildcards.slot)
        return [self.layout.rungs(wildcards.digest, validation).ranking(rung - 1)] if rung else []

    def states_before(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - the same
        """What all points left on the rung before; none on the first."""
        rung = int(wildcards.rung)
        if not rung:
            return []
        rungs = self.layout.rungs(wildcards.digest, validation_of(wildcards.slot))
        return rungs.files(rung - 1, "state.safetensors")

    def rung_models(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - the same
        """Weights of all points on the rung that a ranking follows."""
        rungs = self.layout.rungs(wildcards.digest, wildcards.validation)
        return rungs.files(int(wildcards.rung), "model.safetensors")

    def slot_point(self, slot: str) -> str:
        """The grid point of a slot as JSON text; null where a ranking says it."""
        return canonical_json(self.grid.get(slot))

    def halving_text(self) -> str:
        """How points are halved, as JSON text."""
        return canonical_json(self.settings.search.halving.as_json())

    def divisors(self, rung: str) -> str:
        """One in so many steps is done when a rung, and the rung before, ends, as JSON text."""
        halving, number = self.settings.search.halving, int(rung)
        before = halving.divisor(number - 1) if number else None
        return canonical_json([halving.divisor(number), before])

    def proposals_of(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - the same
        """What says which point a trial trains; a list of none in the first batch, or one."""
        batch, validation = int(wildcards.batch), validation_of(wildcards.slot)
        return [self.layout.trials(wildcards.digest, validation).proposals(batch)] if batch else []

    def proposals_before(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - the same
        """The proposals before some; a list of none before the first ones, or one."""
        before = int(wildcards.batch) - 1
        trials = self.layout.trials(wildcards.digest, wildcards.validation)
        return [trials.proposals(before)] if before else []

    def trials_before(self, wildcards: Any) -> list[Path]:  # noqa: ANN401 - the same
        """Weights of the trials of the batch that proposals follow."""
        trials = self.layout.trials(wildcards.digest, wildcards.validation)
        return trials.files(int(wildcards.batch) - 1, "model.safetensors")

    def proposing_text(self) -> str:
        """How points are proposed, as JSON text; null where they are not."""
        return canonical_json(self.proposing)
