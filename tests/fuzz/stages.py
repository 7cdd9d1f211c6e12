"""Jobs of a workflow whose inputs are spoiled: state, documents, tables and row stores."""

from __future__ import annotations

import json
import shlex
from functools import partial
from typing import TYPE_CHECKING

from tests.fuzz.harness import Case, Target, run_command
from tests.fuzz.headers import spoiled_state
from tests.fuzz.material import lay_out
from tests.fuzz.mutate import spoiled, spoiled_json

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

JOBS = "jobs.json"
"""Beside the experiment: what :func:`jobs_of` found."""

_SPOIL = {".json": spoiled_json, ".safetensors": spoiled_state}


def jobs_of(folder: Path) -> list[tuple[list[str], list[str]]]:
    """Inputs and command line of each job that Snakemake has run, from what it keeps of them."""
    found = {}
    for path in sorted((folder / ".snakemake" / "metadata").rglob("*")):
        if path.is_file():
            record = json.loads(path.read_text())
            words = shlex.split(record["shellcmd"])
            end = [word.startswith((">", "2>", "&>")) for word in [*words, ">"]].index(True)
            found[record["shellcmd"]] = (
                sorted(record["input"]),
                words[1:end],
            )
    return [found[line] for line in sorted(found)]


class Stages(Target):
    """Every job's command, as the workflow calls it, with one of its inputs spoiled."""

    share = 0.05

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        super().__init__(folder)
        self.jobs = [
            ([path for name in inputs if (path := folder / name) in self.before], command)
            for inputs, command in json.loads((folder / JOBS).read_text())
        ]

    def case(self, rng: Random) -> Case:
        """A job and an input; jobs of a kind that is there often are not taken more often."""
        kind = rng.choice(sorted({command[0] for inputs, command in self.jobs if inputs}))
        inputs, command = rng.choice([job for job in self.jobs if job[1][0] == kind])
        path = rng.choice(inputs)
        spoil = _SPOIL.get(path.suffix, spoiled)
        if path.name == "base.safetensors":  # a budget of a million times the rows is one
            spoil = spoiled
        content = spoil(rng, self.before[path])
        return Case({path: content}, partial(run_command, *command))
