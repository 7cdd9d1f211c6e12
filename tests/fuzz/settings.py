"""Files of settings: their bytes, their structure, and overrides."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from shoal.plan.plan import Plan
from shoal.plan.variants import variants
from tests.fuzz.harness import Case, Target, end_as_commands_do, run_command
from tests.fuzz.material import lay_out
from tests.fuzz.mutate import ANY_TEXT, changed, spoiled

if TYPE_CHECKING:
    from random import Random

_OWN = 0.6
"""Of all cases those in the experiment's own file, which says most."""

_VALUES = ("null", "-1", "[1,2]", "{a: 1}", "1e999", "${seed}", "${oc.env:HOME}", "'", "[", "a b")


class Settings(Target):
    """Every file of ``config/``, and what is changed on the command line."""

    share = 0.05

    def __init__(self, material: Path, folder: Path) -> None:
        lay_out(material, folder)
        super().__init__(folder)
        self.files = [path for path in self.before if folder / "config" in path.parents]
        self.own = folder / "config" / "experiment" / "tiny.yaml"

    def case(self, rng: Random) -> Case:
        """One file, or one override."""
        if rng.random() < 0.15:
            return Case({}, partial(_compose, [self._override(rng)]))
        path = self.own if rng.random() < _OWN else rng.choice(self.files)
        content = self.before[path]
        if rng.random() < 0.5 or path.suffix != ".yaml":
            content = spoiled(rng, content, rng.choice(ANY_TEXT))
        else:
            value = changed(rng, yaml.safe_load(content))
            head = b"# @package _global_\n" if path.parent.name == "experiment" else b""
            content = head + yaml.safe_dump(value).encode(errors="surrogatepass")
        read = partial(run_command, "plan", "tiny") if rng.random() < 0.1 else partial(_compose, [])
        return Case({path: content}, read)

    def _override(self, rng: Random) -> str:
        settings = yaml.safe_load(self.before[self.own])
        group = rng.choice(sorted(settings))
        inner = settings[group]
        name = f"{group}.{rng.choice(sorted(inner))}" if isinstance(inner, dict) else group
        text = f"{name}={rng.choice(_VALUES)}"
        return spoiled(rng, text.encode()).decode(errors="replace") if rng.random() < 0.5 else text


def _compose(overrides: list[str]) -> None:
    """What a run does with settings before it does anything else."""
    end_as_commands_do(partial(_plans, overrides))


def _plans(overrides: list[str]) -> None:
    config = Path("config")
    for variant in variants(config, "tiny", overrides):
        Plan("tiny", overrides, config, variant)
