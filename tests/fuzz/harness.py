"""Cases, what comes of them, and the processes that they run in.

A case is what a target does with the random numbers of one seed, one target and one number. It
writes some files and runs what reads them. Right is that it works, or ends in a ``ShoalError`` of
one line; everything else is found.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import selectors
import shutil
import signal
import sys
import time
import traceback
import warnings
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.errors import ERROR, ShoalError
from shoal.terminal import command

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

BYTES = 2 << 30
"""Most memory of a process."""

CPU_SECONDS = 20
"""Most time of a processor that a case may take; reading is done within one."""

WALL_SECONDS = 180
"""Longest silence of a process, which waits for something then."""

BATCH = 100
"""Cases of one process."""


@dataclass(frozen=True)
class Case:
    """Files that are written, and what reads them."""

    files: dict[Path, bytes]
    read: Callable[[], object]


class Target(ABC):
    """Something that is read, in a folder of its own; cases leave the folder as it was.

    Attributes:
        share: Of all cases.
        folder: The folder, which is the current one while cases are made and run.
    """

    share: ClassVar[float]

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before = {
            path: path.read_bytes() for path in sorted(_files(folder)) if not path.is_symlink()
        }
        self._marks = {path: _mark(path) for path in self.before}

    @abstractmethod
    def case(self, rng: Random) -> Case:
        """A case."""

    def restore(self) -> None:
        """Put everything back."""
        there = _files(self.folder)
        for path in there:
            if path not in self.before and not path.is_symlink():
                path.unlink()
        for path, content in self.before.items():
            if path not in there or _mark(path) != self._marks[path]:
                path.parent.mkdir(parents=True, exist_ok=True)
                if path not in there or path.is_symlink():
                    path.unlink(missing_ok=True)
                path.write_bytes(content)
                os.utime(path, ns=(self._marks[path][1],) * 2)
                self._marks[path] = _mark(path)


def _files(folder: Path) -> set[Path]:
    return {Path(top, name) for top, _, names in os.walk(folder) for name in names}


def _mark(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_size, found.st_mtime_ns, found.st_ino


class FoundError(Exception):
    """An outcome that is not right, though nothing was raised."""


@dataclass(frozen=True)
class Outcome:
    """What came of a case: ``used``, ``refused``, or what was found, a kind and all of it."""

    result: str
    kind: str = ""
    text: str = ""


def run_case(target: Target, name: str, seed: str, number: int, keep: Path) -> Outcome:
    """Make and run one case, and put everything back.

    Args:
        target: The target.
        name: Its name.
        seed: Of all cases.
        number: Of this one.
        keep: Folder for the case's files, where something is found; kept before it is run, as
            the process may not survive it.
    """
    with contextlib.chdir(target.folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = target.case(Random(f"{seed}/{name}/{number}"))
        for path, content in case.files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            kept = keep / path.relative_to(target.folder)
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_bytes(content)
        try:
            outcome = _outcome(case)
        finally:
            target.restore()
    return outcome


def settle(outcome: Outcome, keep: Path) -> None:
    """Say what was found beside a case's files, or remove them."""
    if outcome.result != "found":
        shutil.rmtree(keep, ignore_errors=True)
    else:
        keep.mkdir(parents=True, exist_ok=True)
        (keep / "found.txt").write_text(outcome.text)


def _outcome(case: Case) -> Outcome:
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            case.read()
    except ShoalError as error:
        line = str(error)
        if "\n" in line or not line:
            return Outcome("found", f"no line: {type(error).__name__}", repr(line))
        return Outcome("refused", text=line)
    except FoundError as error:
        return Outcome("found", str(error).splitlines()[0], str(error))
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if "/shoal/" in frame.filename] or frames
        place = f"{Path(ours[-1].filename).name}:{ours[-1].name}"
        text = "".join(traceback.format_exception(error))
        return Outcome("found", f"{type(error).__name__} in {place}", text)
    return Outcome("used")


def run_command(*arguments: str, codes: tuple[int, ...] = (0,)) -> None:
    """Run a command line in this process; see :func:`end_as_commands_do`.

    Args:
        arguments: What follows ``shoal``.
        codes: Exit codes of a command that worked.
    """
    from shoal.cli import main

    before, environment = sys.argv, dict(os.environ)
    sys.argv = ["shoal", *arguments]
    try:
        end_as_commands_do(main, codes)
    finally:
        sys.argv = before
        os.environ.clear()
        os.environ.update(environment)


def end_as_commands_do(work: Callable[[], object], codes: tuple[int, ...] = (0,)) -> None:
    """Do what a command does, in this process.

    Raises:
        ShoalError: It ended with code 2 and one line that says why.
        FoundError: It ended in another way.
    """
    said = io.StringIO()
    code: Any = 0
    try:
        with contextlib.redirect_stderr(said), command():
            work()
    except SystemExit as exit_:
        code = exit_.code or 0
    if code in codes:
        return
    lines = said.getvalue().splitlines() or [""]
    reasons = [line for line in lines if line.startswith(ERROR)]
    if code == 2 and lines[-1:] == reasons and "out of memory" not in lines[-1]:
        raise ShoalError(lines[-1])
    place = next((line.strip() for line in reversed(lines) if "/shoal/" in line), "")
    raise FoundError(f"code {code}: {lines[-1][:100]} {place}\n{said.getvalue()}")


# Processes -------------------------------------------------------------------------------------


@dataclass
class Tally:
    """What came of the cases of one target."""

    results: Counter[str] = field(default_factory=Counter)
    found: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    seconds: float = 0.0
    peak: int = 0

    def add(self, number: int, outcome: Outcome, seconds: float = 0.0, peak: int = 0) -> None:
        """Count a case."""
        self.results[outcome.result] += 1
        self.seconds += seconds
        self.peak = max(self.peak, peak)
        if outcome.result == "found":
            self.found[outcome.kind].append(f"case {number}: {outcome.text}")


@dataclass
class Batch:
    """Cases of one target that a process runs, one after the other."""

    name: str
    numbers: list[int]
    pid: int = 0
    begun: int | None = None
    heard: float = 0.0
    rest: bytes = b""


def run_apart(
    batches: Iterable[Batch],
    targets: Mapping[str, Callable[[Path], Target]],
    seed: str,
    folder: Path,
    processes: int = 2,
) -> dict[str, Tally]:
    """Run cases in processes of their own, whose memory and time are bounded.

    Args:
        batches: The cases.
        targets: Name to what makes a target in a new folder.
        seed: Of all cases.
        folder: For the folders of processes, and ``found`` for what was found.
        processes: How many at a time.
    """
    waiting, tallies = list(batches), defaultdict[str, Tally](Tally)
    running: dict[int, Batch] = {}
    selector = selectors.DefaultSelector()
    try:
        while waiting or running:
            while waiting and len(running) < processes:
                batch = waiting.pop(0)
                stream = _fork(batch, targets, seed, folder)
                selector.register(stream, selectors.EVENT_READ)
                running[stream] = batch
            heard = {key.fd for key, _ in selector.select(timeout=5)}
            for stream, batch in list(running.items()):
                if stream in heard:
                    part = os.read(stream, 1 << 16)
                    batch.heard = time.monotonic()
                    _hear(batch, part, tallies[batch.name])
                    if part:
                        continue
                    selector.unregister(stream)
                    os.close(stream)
                    _, status = os.waitpid(batch.pid, 0)
                    del running[stream]
                    waiting[:0] = _left(batch, status, tallies[batch.name], folder)
                elif time.monotonic() - batch.heard > WALL_SECONDS:
                    os.kill(batch.pid, signal.SIGKILL)
    finally:
        for batch in running.values():
            os.kill(batch.pid, signal.SIGKILL)
    return tallies


def _hear(batch: Batch, part: bytes, tally: Tally) -> None:
    """Take in lines: ``begin`` before a case, ``end`` after it."""
    *lines, batch.rest = (batch.rest + part).split(b"\n")
    for line in lines:
        message = json.loads(line)
        number = message["number"]
        if "result" not in message:
            batch.begun = number
            continue
        outcome = Outcome(message["result"], message["kind"], message["text"])
        tally.add(number, outcome, message["seconds"], message["peak"])
        batch.numbers.remove(number)
        batch.begun = None


def _left(batch: Batch, status: int, tally: Tally, folder: Path) -> list[Batch]:
    """What another process has to do after one has ended; the case that it died of is found."""
    code = os.waitstatus_to_exitcode(status)
    if code > 0:
        raise RuntimeError(f"{batch.name}, case {batch.begun}: could not be made or run; see above")
    if batch.begun is not None:
        kind = f"the process died ({signal.Signals(-code).name if code else 0})"
        outcome = Outcome("found", kind, kind)
        settle(outcome, keep_in(folder, batch.name, batch.begun))
        tally.add(batch.begun, outcome)
        batch.numbers.remove(batch.begun)
    return [Batch(batch.name, batch.numbers)] if batch.numbers else []


def keep_in(folder: Path, name: str, number: int) -> Path:
    """Where a case's files are kept."""
    return folder / "found" / f"{name}-{number}"


def _fork(
    batch: Batch, targets: Mapping[str, Callable[[Path], Target]], seed: str, folder: Path
) -> int:
    """Start a process; returns what it is heard through."""
    heard, said = os.pipe()
    batch.heard = time.monotonic()
    batch.pid = os.fork()
    if batch.pid:
        os.close(said)
        return heard
    code = 1
    try:
        os.close(heard)
        for message in _cases(batch, targets, seed, folder):
            os.write(said, json.dumps(message).encode() + b"\n")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _cases(
    batch: Batch, targets: Mapping[str, Callable[[Path], Target]], seed: str, folder: Path
) -> Iterator[dict[str, Any]]:
    """Run a batch in this process, until its memory is above what it may be."""
    own = folder / f"process-{os.getpid()}"
    target = targets[batch.name](own)
    peak = 0
    try:
        for number in list(batch.numbers):
            yield {"number": number}
            begin = time.process_time()
            resource.setrlimit(resource.RLIMIT_CPU, (int(begin) + CPU_SECONDS, -1))
            keep = keep_in(folder, batch.name, number)
            outcome = run_case(target, batch.name, seed, number, keep)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            if peak > BYTES and outcome.result != "found":
                outcome = Outcome("found", "memory", f"{peak >> 20} MiB")
            settle(outcome, keep)
            facts = {"result": outcome.result, "kind": outcome.kind, "text": outcome.text[-20_000:]}
            seconds = time.process_time() - begin
            yield {"number": number, "seconds": seconds, "peak": peak} | facts
            if peak > BYTES:
                return
    finally:
        shutil.rmtree(own, ignore_errors=True)
