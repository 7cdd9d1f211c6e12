"""Check what an experiment's variants share: its model store, and the answers about its choices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.errors import ShoalError
from shoal.formats.documents.plan import Answers
from shoal.formats.hashing import file_hash
from shoal.formats.json_file import read_json
from shoal.operate.audit.audit import Report
from shoal.operate.audit.evidence import Finding
from shoal.plan.answers import ANSWERS, answers_jobs
from shoal.plan.history import STORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from shoal.plan.plan import Plan


def audit_shared(plans: Sequence[Plan]) -> Report:
    """Check every kept model, and the answers against the record of their files.

    Args:
        plans: The experiment's variants.
    """
    records = [path for job in answers_jobs(plans) for path in job.outputs]
    there = [path for path in records if path.exists()]
    artifacts, findings = len(records), list(_of_store(plans[0].root))
    for path in there:
        try:
            files = read_json(path, Answers)["files"]
        except ShoalError:
            findings.append(Finding(path, "is no record of answers", _again(path)))
            continue
        artifacts += len(files)
        findings += _of_answers(path, files, plans[0].root / ANSWERS)
    missing = tuple(path for path in records if path not in there)
    return Report(artifacts, tuple(findings), missing, (), complete=True)


def _of_store(root: Path) -> Iterator[Finding]:
    from shoal.archive.kept import problems
    from shoal.model_store import ModelStore

    folder = root / STORE
    store = ModelStore(folder)
    for line in problems(root, store) if folder.is_dir() else ():
        problem = line.removeprefix(f"{store.place}/")
        yield Finding(folder, problem, "bring the folder back from a copy")


def _of_answers(record: Path, files: dict[str, str], folder: Path) -> Iterator[Finding]:
    for name, content in files.items():
        path = folder / name
        if not path.is_file():
            yield Finding(path, "is not there", _again(record))
        elif file_hash(path) != content:
            yield Finding(path, f"is not the file that {record} lists", _again(record))


def _again(record: Path) -> str:
    return f"remove {record} and run the workflow again"
