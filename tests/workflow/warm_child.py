"""A child of the warm server: the request it serves, and how it becomes the program."""

from __future__ import annotations

import ast
import atexit
import contextlib
import itertools
import os
import runpy
import signal
import socket
import sys
import sysconfig
import tempfile
import threading
import traceback
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, NoReturn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from threadpoolctl import ThreadpoolController


class Request(NamedTuple):
    """What a stand-in asks for."""

    name: str
    arguments: list[str]
    folder: str
    environment: dict[str, str]

    @property
    def line(self) -> str:
        """The command, for people and for ``Server.kill``."""
        return " ".join((self.name, *self.arguments))


def receive(connection: socket.socket) -> tuple[Request | None, list[int]]:
    """A stand-in's request and standard streams; no request if it was killed meanwhile."""
    length, streams, _, _ = socket.recv_fds(connection, 4, 3)
    missing = int.from_bytes(length, "big")
    data = bytearray()
    while missing and (part := connection.recv(missing)):
        data += part
        missing -= len(part)
    if missing or not data or _hung_up(connection):
        return None, streams
    return Request(*ast.literal_eval(data.decode())), streams


def _hung_up(connection: socket.socket) -> bool:
    with contextlib.suppress(BlockingIOError):  # nothing to read yet: it waits
        return not connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    return False


def become(request: Request, streams: list[int]) -> NoReturn:
    """Turn this fork into the program that was asked for, and end as it ends."""
    code = 1
    try:
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(request.folder)
        program = str(Path(sysconfig.get_path("scripts")) / request.name)
        ours = _for_python(os.environ)
        os.environ.clear()
        os.environ.update(request.environment)
        if _for_python(os.environ) != ours:  # read when Python starts, so a new one must
            os.execv(program, [program, *request.arguments])
        sys.argv = [program, *request.arguments]
        _start_afresh()
        if request.name == "shoal":
            _set_threads(request.arguments)
        code = _run(program)
    except BaseException:
        traceback.print_exc()
    finally:
        _end(code)


def _for_python(environment: Mapping[str, str]) -> dict[str, str]:
    """Variables that Python reads at its start, but for what keeps a folder from its path."""
    names = (name for name in environment if name.startswith("PYTHON"))
    return {name: environment[name] for name in names if name != "PYTHONSAFEPATH"}


def _start_afresh() -> None:
    """Set what a new process would not share with the server."""
    import numpy as np
    import snakemake.workflow

    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    np.random.seed()  # noqa: NPY002 - the global generator is the one that was copied
    tempfile.tempdir = None
    snakemake.workflow.Workflow._rundir = str(Path.cwd())  # the only folder kept from an import


def _set_threads(arguments: list[str]) -> None:
    """Give loaded libraries the threads that they would have read from the environment.

    ``shoal.cli.main`` sets the variables before it imports a library; here they are loaded.
    """
    named = dict(itertools.pairwise(arguments)).get("--threads")
    openmp = named or os.environ.get("OMP_NUM_THREADS") or str(len(os.sched_getaffinity(0)))
    blas = named or os.environ.get("OPENBLAS_NUM_THREADS") or openmp
    loaded_libraries().limit(limits={"openmp": int(openmp), "blas": int(blas)})


@cache
def loaded_libraries() -> ThreadpoolController:
    """Libraries that have threads; to look for them takes long, so the server does it once."""
    import threadpoolctl

    return threadpoolctl.ThreadpoolController()


def _run(program: str) -> int:
    """Run a console script to its end, as Python does; its exit code, or minus a signal."""
    code = 0
    try:
        runpy.run_path(program, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int):
            code = end.code & 0xFF
        elif end.code is not None:
            print(end.code, file=sys.stderr)  # noqa: T201 - Python does this
            code = 1
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
        code = -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except OSError:
        return 120
    return code


def _end(code: int) -> NoReturn:
    """End without taking apart what the server loaded, which would take long."""
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)
