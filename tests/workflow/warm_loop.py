"""The warm server's process: imports everything once, then forks a child for each request."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import selectors
import signal
import socket
import sys
import sysconfig
import time
import weakref
from pathlib import Path
from typing import NamedTuple

import psutil

from tests.workflow.warm_child import Request, become, receive

# What children would import themselves; measured by what a whole run still imported.
PRELOADED = (
    "hydra._internal.core_plugins",
    "hydra.core.override_parser.overrides_parser",
    "hydra.utils",
    "numpy",
    "pandas",
    "pulp",
    "pyarrow.csv",
    "pyarrow.pandas_compat",
    "pyarrow.parquet",
    "pytorch_lightning",
    "rich.console",
    "rich.table",
    "safetensors.numpy",
    "scipy.special",
    "sklearn.cluster",
    "sklearn.datasets",
    "sklearn.decomposition",
    "sklearn.feature_extraction.text",
    "sklearn.linear_model",
    "sklearn.metrics",
    "sklearn.preprocessing",
    "skops.io",
    "smart_open",
    "snakemake.benchmark",
    "snakemake.cli",
    "snakemake.profiles",
    "snakemake.report.html_reporter",
    "snakemake.storage",
    "snakemake_logger_plugin_shoal",
    "statsmodels.regression.linear_model",
    "statsmodels.stats.anova",
    "threadpoolctl",
    "torch",
    "torch.profiler._cupti_monitor",
    "typer._adapters",
    "typer.rich_utils",
    "umap",
    "yte",
    "zarr",
)

# Modules that remember when they were imported.
PER_PROCESS = ("shoal.workflow.start",)


class Child(NamedTuple):
    """A served command: its line, the connection to its stand-in, and what tells of its end."""

    line: str
    connection: socket.socket
    pidfd: int


class Loop:
    """Serves stand-ins and the test in one thread, so that a fork copies a process at rest."""

    def __init__(self, folder: Path) -> None:
        self.children: dict[int, Child] = {}
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(folder / "socket"))
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.listener, selectors.EVENT_READ, self._accept)
        self.selector.register(0, selectors.EVENT_READ, self._control)
        self.ended = False

    def serve(self) -> None:
        """Serve until the test's end of the pipe is closed; leave no process behind."""
        _reply("ready")
        while not self.ended:
            for key, _ in self.selector.select():
                key.data()
            self._reap()
        self._kill_all()

    def _accept(self) -> None:
        """Start a child for every stand-in that waits."""
        with contextlib.suppress(BlockingIOError):
            while True:
                connection, _ = self.listener.accept()
                request, streams = receive(connection)
                if request is None:
                    connection.close()
                else:
                    self._start(request, streams, connection)
                for stream in streams:
                    os.close(stream)

    def _start(self, request: Request, streams: list[int], connection: socket.socket) -> None:
        pid = os.fork()
        if pid == 0:
            connection.close()
            self._close()
            become(request, streams)
        child = Child(request.line, connection, os.pidfd_open(pid))
        self.children[pid] = child
        self.selector.register(connection, selectors.EVENT_READ, lambda: self._heard(pid))
        self.selector.register(child.pidfd, selectors.EVENT_READ, lambda: None)  # wakes the loop

    def _close(self) -> None:
        """Close what a child must not hold."""
        self.selector.close()
        self.listener.close()
        for child in self.children.values():
            child.connection.close()
            os.close(child.pidfd)

    def _heard(self, pid: int) -> None:
        """Pass on the signals that a stand-in caught; one that hangs up was killed."""
        if pid in self.children:
            for number in self.children[pid].connection.recv(16) or [signal.SIGKILL]:
                os.kill(pid, number)

    def _reap(self) -> None:
        """Tell stand-ins how their children ended. Adopted orphans end here, too."""
        with contextlib.suppress(ChildProcessError):  # no children at all
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid in self.children:
                    self._dismiss(self.children.pop(pid), os.waitstatus_to_exitcode(status))

    def _dismiss(self, child: Child, code: int) -> None:
        self.selector.unregister(child.connection)
        self.selector.unregister(child.pidfd)
        os.close(child.pidfd)
        with contextlib.suppress(OSError):  # the stand-in may be gone
            child.connection.send(str(code).encode())
        child.connection.close()

    def _control(self) -> None:
        """Do what the test asks for; it waits for the answer, so there is one line at a time."""
        data = os.read(0, 65536)
        self.ended = not data
        if self.ended:
            return
        self._accept()  # what asked before the test did
        self._reap()
        match json.loads(data):
            case ["served"]:
                _reply([child.line for child in self.children.values()])
            case ["kill", substring]:
                _reply(self._kill(substring))
            case ["kill_all"]:
                self._kill_all()
                _reply(None)

    def _kill(self, substring: str) -> bool:
        for pid, child in self.children.items():
            if substring in child.line:
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def _kill_all(self) -> None:
        """Kill until none is left: while we kill one, another may start a third."""
        while alive := psutil.Process().children(recursive=True):
            for process in alive:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            time.sleep(0.002)
            self._reap()


def _reply(answer: object) -> None:
    os.write(1, json.dumps(answer).encode() + b"\n")


def preload() -> None:
    """Import what children use.

    Raises:
        RuntimeError: An import started a thread. A fork would lose it, with the locks it holds.
    """
    for name in PRELOADED:
        importlib.import_module(name)
    import shoal

    for module in pkgutil.walk_packages(shoal.__path__, "shoal."):
        if module.name not in PER_PROCESS:
            importlib.import_module(module.name)
    for name in PER_PROCESS:
        sys.modules.pop(name, None)
    plan_once()
    threads = len(list(Path("/proc/self/task").iterdir()))
    if threads > 1:
        raise RuntimeError(f"{threads - 1} threads were started by imports")
    weakref.finalize._registry.clear()  # type: ignore[attr-defined] # torch's take 50 ms a child
    gc.collect()
    gc.freeze()  # a child's collections leave the server's objects, and so shared memory, alone


def plan_once() -> None:
    """Have at hand what takes more than half the time of a plan, and is the same in all of them.

    Digests of this package's code, which no child imports anew, and the grammar of overrides.
    """
    from shoal.plan.code import code_digest
    from shoal.plan.ids import APPLY_MODULES, FIT_MODULES
    from shoal.settings.compose import compose

    compose(Path(__file__).parents[2] / "config", "demo", ["seed=1"])
    for module in {*APPLY_MODULES.values(), *FIT_MODULES.values(), "explore.answers.command"}:
        code_digest(module)
        code_digest(module, ["shoal.models.MLP"])


def adopt_orphans() -> None:
    """Become the parent of descendants that lose theirs, so that none escapes ``kill_all``."""
    set_child_subreaper = 36  # from linux/prctl.h
    if ctypes.CDLL(None, use_errno=True).prctl(set_child_subreaper, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.path[0] = sysconfig.get_path("scripts")  # as a console script has it
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which a script's `&` ignores
    adopt_orphans()
    loop = Loop(Path(sys.argv[1]))
    preload()
    loop.serve()
