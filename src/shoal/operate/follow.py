"""Command ``follow``: run an experiment again when its source files have changed.

It looks at files, and reads none. What has settled is planned, and run, by processes of their own:
by the plan and the command of a person. What it knows it keeps in memory alone, so one that was
killed goes on when it is started again. Files that lie at a URL are brought here first, see
:mod:`shoal.operate.mirror`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from shoal.errors import ERROR, SettingsError, ShoalError, SourceError
from shoal.formats.files import locked
from shoal.formats.text import count_text, seconds_text
from shoal.operate.settling import Settling, names_text
from shoal.plan.first_look import source_files
from shoal.plan.plan import SOURCE_HASHES
from shoal.plan.running import is_running
from shoal.sources.shards import last_planned, mark_of
from shoal.terminal import leave

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from shoal.operate.follow_plan import Decision
    from shoal.operate.mirror import Mirror
    from shoal.sources.shards import Mark

RETRIES = 5
"""Times that what failed is tried again, after pauses that double."""

_LOCK = ".followed"
_SAYS = "shoal: "
_LOCKED = "Directory cannot be locked"


@dataclass(frozen=True)
class Follow:
    """What is followed, and how.

    Attributes:
        root: The experiment's results folder.
        content: Composes the settings anew, plain values.
        plan: Command line of ``shoal follow-plan`` for the experiment.
        every: Seconds between looks.
        settle: Seconds for which a file has to stay as it is before it is read.
        once: Whether to look, plan and run once, and end.
        url: Where source files come from, if not by other means.
    """

    root: Path
    content: Callable[[], Mapping[str, Any]]
    plan: Sequence[str]
    every: float
    settle: float
    once: bool
    url: str | None = None


@dataclass
class _Ended:
    """How a process ended: its exit code, output, and the reasons that it gave."""

    code: int = 0
    output: str = ""
    reasons: list[str] = field(default_factory=list)
    was_locked: bool = False


def follow(asked: Follow) -> Iterator[str]:
    """Look at the source files, and run what has settled, until something ends it.

    Args:
        asked: What is followed, and how.

    Yields:
        A sentence per event.

    Raises:
        ShoalError: Somebody follows the experiment already, or the file system has no locks; or see
            :mod:`shoal.operate.mirror`.
        SystemExit: A run failed as often as it is tried; with its exit code.
    """
    busy = f"{asked.root}: another `shoal follow` looks after it"
    with locked(asked.root / _LOCK, busy):
        follower = Follower(asked)
        with follower.mirrored():
            yield from follower.steps()


class Follower:
    """A process that follows an experiment.

    Attributes:
        asked: What is followed, and how.
        content: Settings, plain values.
        files: Source files as they were seen.
        mirror: Brings files from the URL, where there is one.
        done: Files of the last plan, and their marks; None before the first.
        failures: How often a run, or a look at the URL, has failed since it last ended well.
        said: The last sentence.
    """

    def __init__(self, asked: Follow) -> None:
        self.asked = asked
        self.content = asked.content()
        self.files: Settling[Path, Mark] = Settling(asked.settle)
        self.mirror: Mirror | None = None
        self.done: dict[Path, Mark] | None = None
        self.failures: Counter[str] = Counter()
        self.said = ""

    def steps(self) -> Iterator[str]:
        """Look, wait, plan and run, in turns."""
        if not self.asked.once:
            yield f"looks every {self.asked.every:g} s, {self.asked.settle:g} s after a change"
        self.look()
        yield from self.bring()
        time.sleep(self.asked.settle)
        while True:
            pause = yield from self.bring()
            if not pause:
                settled, waits = self.look()
                pause = self._pause()
                if waits:
                    yield from self._once(waits)
                elif settled != self.done:
                    pause = yield from self._cycle(settled)
            if self.asked.once:
                return
            time.sleep(pause)

    @contextmanager
    def mirrored(self) -> Iterator[None]:
        """Bring files from the URL while the block lasts, if there is one."""
        with ExitStack() as stack:
            if self.asked.url is not None:
                from shoal.operate.mirror import mirroring

                made = mirroring(self.asked.url, self._folder(), self.asked.settle)
                self.mirror = stack.enter_context(made)
            yield

    def bring(self) -> Generator[str, None, float]:
        """Bring what has settled at the URL; returns the seconds to wait if that failed, or 0.

        Nothing changes while a run that is in progress reads the files.
        """
        if self.mirror is None or is_running(self.asked.root):
            return 0
        from shoal.operate.mirror import UnreachableError

        if self._folder() != self.mirror.folder:
            raise SettingsError(
                f"sources.folder was {self.mirror.folder} and is {self._folder()} now; start again"
            )
        try:
            changed = yield from self.mirror.look(self.content["sources"]["files"])
        except UnreachableError as error:
            return (yield from self._failed("look", [str(error)], error.code))
        self.files.take({path: mark_of(path) for path in changed})
        del self.failures["look"]
        return 0

    def _folder(self) -> Path:
        return Path(self.content["sources"]["folder"]).expanduser()

    def _pause(self) -> float:
        """Seconds until the next look."""
        moving = [*self.files.moving().values()]
        moving += self.mirror.there.moving().values() if self.mirror else []
        return min([self.asked.every, *moving])

    def look(self) -> tuple[dict[Path, Mark], str]:
        """Look at the files: those that have settled, and what is waited for, if anything is."""
        try:
            named = [path for path, _ in source_files(self.content["sources"])]
        except SourceError as error:
            return {}, str(error)
        self.files.look({path: mark_of(path) for path in named}, self._known())
        settled, moving = self.files.settled(), self.files.moving()
        known = [path for path in self._known() if path in moving] if moving else []
        if known or not settled:
            return settled, f"waits until {names_text(known or list(moving))} has settled"
        if settled != self.done and is_running(self.asked.root):
            return settled, "waits for the end of a run that is in progress"
        return settled, ""

    def _known(self) -> list[Path]:
        """Files of the last plan: the rows of one that changes or goes are not left out."""
        return list(self.done or last_planned(self.asked.root / SOURCE_HASHES))

    def _once(self, sentence: str) -> Iterator[str]:
        """A sentence that is not repeated while nothing else happens."""
        if sentence != self.said:
            yield sentence
        self.said = sentence

    def _cycle(self, settled: dict[Path, Mark]) -> Generator[str, None, float]:
        """Plan with what has settled, and run that; returns the seconds until the next look."""
        yield from self._once(f"plans with {_changes(settled, self.done)}")
        marks = json.dumps({str(path): mark for path, mark in settled.items()})
        ended = yield from _process(self.asked.plan, marks)
        if not ended.code:
            decision: Decision = json.loads(ended.output.splitlines()[-1])
            yield from self._once(decision["sentence"])
            if decision["again"]:
                return self.asked.settle
            if decision["command"]:
                ended = yield from _process(decision["command"], "")
        if ended.was_locked:
            yield from self._once("waits for the end of a run that is in progress")
            return self.asked.every
        if ended.code:
            reasons = ended.reasons or [f"the run ended with exit code {ended.code}"]
            return (yield from self._failed("run", reasons, max(ended.code, 1)))
        if decision["command"]:
            yield from self._once("the run has ended well")
        self.done = settled
        del self.failures["run"]
        with suppress(ShoalError):  # settings that somebody edits at this moment
            self.content = self.asked.content()
        return self._pause()

    def _failed(self, what: str, reasons: list[str], code: int) -> Generator[str, None, float]:
        """Say why, and how long it is until the next try; after the last one, end."""
        if self.asked.once or self.failures[what] == RETRIES:
            leave(reasons, code)
        pause: float = self.asked.every * 2 ** self.failures[what]
        self.failures[what] += 1
        yield from self._once(
            f"failed, tries again in {seconds_text(pause)}, {self.failures[what]} of {RETRIES}: "
            f"{'; '.join(reasons)}"
        )
        return pause


def _process(command: Sequence[str], text: str) -> Generator[str, None, _Ended]:
    """Run a command to its end; yields what Shoal says in it, returns how it ended."""
    ended = _Ended()
    with tempfile.TemporaryFile("w+") as told, tempfile.TemporaryFile("w+") as output:
        told.write(text)
        told.seek(0)
        with _started(command, told, output) as process:
            assert process.stderr is not None  # noqa: S101 - it is a pipe
            for line in process.stderr:
                if line.startswith(ERROR):
                    ended.reasons.append(line.removeprefix(ERROR).strip())
                elif line.startswith(_SAYS):
                    yield line.removeprefix(_SAYS).strip()
                ended.was_locked |= _LOCKED in line
            ended.code = process.wait()
        output.seek(0)
        ended.output = output.read()
    return ended


@contextmanager
def _started(
    command: Sequence[str], told: IO[str], output: IO[str]
) -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own, which ends by an interrupt if the block does."""
    process = subprocess.Popen(  # noqa: S603 - our own command
        command,
        stdin=told,
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGINT)
        process.communicate()


def _changes(now: Mapping[Path, Mark], before: Mapping[Path, Mark] | None) -> str:
    """Say which files came, changed and went."""
    if before is None:
        return "1 file" if len(now) == 1 else f"{count_text(len(now))} files"
    kinds = {
        "new": [path for path in now if path not in before],
        "changed": [path for path in now if path in before and now[path] != before[path]],
        "gone": [path for path in before if path not in now],
    }
    return ", ".join(f"{kind}: {names_text(paths)}" for kind, paths in kinds.items() if paths)
