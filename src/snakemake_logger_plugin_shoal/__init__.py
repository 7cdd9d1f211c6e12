"""``snakemake --logger shoal``: a line for each job, with how many are left and how long so far.

Snakemake finds the plugin by this module's name.
"""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.common import LogEvent

_SHOWN_WILDCARDS = ("shard", "digest", "step", "slot", "pack")


class LogHandler(LogHandlerBase):
    """Writes to standard error; failures are told with their log files."""

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = time.monotonic()
        self._names: dict[int, str] = {}
        self._progress = ""

    def emit(self, record: logging.LogRecord) -> None:
        """Tell what starts, what is done and what went wrong."""
        values = record.__dict__
        event = values.get("event")
        if event == LogEvent.RUN_INFO:
            jobs = sum(count for rule, count in values["stats"].items() if rule != "total")
            self._progress = f"{jobs:3} left  "
        elif event == LogEvent.JOB_INFO:
            self._names[values["jobid"]] = _name(values)
            if values["rule_name"] != "all":
                self._say(f"{self._progress}{_name(values)}")
        elif event == LogEvent.PROGRESS:
            left = values["total"] - values["done"]
            self._progress = f"{left:3} left  "
        elif event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            self._say(f"failed: {self._names.get(values.get('jobid', -1), '')}")
            for log in values.get("log") or []:
                self._say(f"  its log: {log}")
        elif event is None and record.levelno >= logging.WARNING:
            self._say(record.getMessage())

    def _say(self, text: str) -> None:
        seconds = int(time.monotonic() - self._started)
        sys.stderr.write(f"{seconds // 60:3}:{seconds % 60:02}  {text}\n")
        sys.stderr.flush()

    @property
    def writes_to_stream(self) -> bool:
        """It writes to the terminal."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """It writes to no file."""
        return False

    @property
    def has_filter(self) -> bool:
        """It chooses itself what to show."""
        return True

    @property
    def has_formatter(self) -> bool:
        """It formats itself."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """It draws no graph."""
        return False


def _name(values: dict[str, Any]) -> str:
    """A job's rule and what tells it from the rule's other jobs."""
    wildcards = values.get("wildcards") or {}
    parts = [str(wildcards[name])[:12] for name in _SHOWN_WILDCARDS if name in wildcards]
    return " ".join([values["rule_name"], *parts])
