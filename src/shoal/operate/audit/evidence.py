"""State that the checks of an audit share: the files, each read once, and the findings so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError
from shoal.formats.documents.index import PlannedIndex
from shoal.formats.hashing import file_hash
from shoal.operate.audit.files import Artifact, read_artifact
from shoal.plan.stages import BEFORE_INDEX, STAGES

if TYPE_CHECKING:
    from pathlib import Path

    from shoal.plan.jobs import Job
    from shoal.plan.plan import Plan


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        path: The file.
        problem: What is wrong with it.
        advice: What to do.
    """

    path: Path
    problem: str
    advice: str

    @property
    def line(self) -> str:
        """The finding as one line."""
        return f"{self.path}: {self.problem}; {self.advice}"

    def as_json(self) -> dict[str, str]:
        """The finding for programs."""
        return {"path": str(self.path), "problem": self.problem, "advice": self.advice}


@dataclass
class Evidence:
    """Files, and what was found about them.

    Attributes:
        plan: The experiment.
        index: The partition index, as its summaries give it; no partitions until they are checked.
        members: Where the summaries put the rows of each partition; empty until then.
        findings: What is wrong so far.
        missing: What is not there.
        makers: The job that makes each file looked at so far.
        confirmed: Files that some artifact was made from as they are.
        disputes: Files, each with artifacts that were made from other content than it has.
    """

    plan: Plan
    index: PlannedIndex = field(default_factory=lambda: PlannedIndex(partitions=[]))
    members: dict[int, Any] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    missing: list[Path] = field(default_factory=list)
    makers: dict[Path, Job] = field(default_factory=dict)
    confirmed: set[Path] = field(default_factory=set)
    disputes: dict[Path, list[Path]] = field(default_factory=dict)
    _blamed: set[Path] = field(default_factory=set)
    _hashes: dict[Path, str | None] = field(default_factory=dict)
    _artifacts: dict[Path, Artifact] = field(default_factory=dict)

    def hash(self, path: Path) -> str | None:
        """SHA-256 of a file; None where there is none."""
        if path not in self._hashes:
            self._hashes[path] = file_hash(path) if path.is_file() else None
        return self._hashes[path]

    def read(self, path: Path) -> Artifact:
        """Content of an artifact, and its record.

        Raises:
            CorruptError: It is not whole.
        """
        if path not in self._artifacts:
            self._artifacts[path] = read_artifact(path)
        return self._artifacts[path]

    def content(self, path: Path) -> Any:  # noqa: ANN401 - any JSON value
        """JSON of an artifact, or the JSON values kept with it."""
        return self.read(path).content

    def blame(self, path: Path, problem: str, advice: str) -> None:
        """Note what is wrong with a file."""
        self.findings.append(Finding(path, problem, advice))
        self._blamed.add(path)

    def miss(self, path: Path) -> None:
        """Note that a file is not there."""
        self.missing.append(path)
        self._blamed.add(path)

    def is_blamed(self, path: Path) -> bool:
        """Whether a file is missing or something is wrong with it, as far as was looked."""
        return path in self._blamed

    def compare(self, path: Path, source: Path, content: str) -> None:
        """Note whether a file still is what an artifact was made from.

        Args:
            path: The artifact.
            source: What it was made from; not compared if something else is wrong with it.
            content: SHA-256 that the file had then.
        """
        if self.is_blamed(source):
            return
        if self.hash(source) == content:
            self.confirmed.add(source)
        else:
            self.disputes.setdefault(source, []).append(path)

    def remedy(self, job: Job) -> str:
        """Advice about a wrong output of a job."""
        again = "remove it and run the workflow again"
        stage = STAGES[job.rule]
        if not stage.frozen:
            return again
        if stage not in BEFORE_INDEX:
            return f"{again}: it is trained on the rows of now"
        if self._basis_is_current():
            return again
        refit = self.plan.command("refit")
        return f"bring it back from a copy, or start the next generation: `{refit}`"

    def _basis_is_current(self) -> bool:
        """Whether the generation, fitted again, would be fitted on what it was fitted on."""
        try:
            return self.plan.basis() == sorted(self.plan.layout.shards)
        except ShoalError:
            return False
