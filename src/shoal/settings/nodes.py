"""Settings of the nodes that jobs run on. No result depends on them."""

from __future__ import annotations

from typing import Literal

from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    model_validator,
)

from shoal.settings.section import Section

Need = Literal["light", "cores", "gpu", "large"]


class NodeClass(Section):
    """Nodes that are alike."""

    partition: str = Field(description="Slurm partition")
    cores: PositiveInt = Field(description="cores of a node")
    memory_mb: PositiveInt = Field(description="memory of a node that jobs may ask for")
    minutes: PositiveInt = Field(description="longest walltime of a job")
    gpus: NonNegativeInt = Field(description="GPUs of a node")
    gpu_model: str | None = Field(description="their type, as Slurm calls it; null: any")
    gpu_memory_mb: NonNegativeInt = Field(description="memory of one of them")
    cost: NonNegativeFloat = Field(description="of a node for an hour, in any unit")


class First(Section):
    """Resources of a job while there is no past one to learn from."""

    minutes: PositiveInt = Field(description="walltime")
    memory_mb: PositiveInt = Field(description="memory, for libraries and the like")


class Nodes(Section):
    """Classes of nodes, and which of them jobs take."""

    account: str | None = Field(description="Slurm account; null: the user's own default")
    classes: dict[str, NodeClass] = Field(description="classes of nodes by name")
    needs: dict[Need, str] = Field(
        description="class for each need: light, cores (all of a node), gpu (one), large (several)"
    )
    rules: dict[str, Need] = Field(description="needs of rules that differ from the rule's own")
    large_gpus: PositiveInt = Field(description="GPUs of a job whose need is large")
    first: First
    safety: PositiveFloat = Field(
        ge=1, description="asked for, as a multiple of what past jobs lead to expect"
    )
    growth: PositiveFloat = Field(ge=1, description="factor of each further attempt")

    @model_validator(mode="after")
    def _classes_exist(self) -> Nodes:
        for need in ("light", "cores", "gpu", "large"):
            if need not in self.needs:
                raise ValueError(f"needs.{need} is missing: the class of node that it takes")
        for need, name in self.needs.items():
            if name not in self.classes:
                raise ValueError(
                    f"needs.{need} is {name!r}, but the classes are {', '.join(self.classes)}"
                )
        return self
