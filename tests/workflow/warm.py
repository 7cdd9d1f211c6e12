"""A fork server for tests: real ``shoal`` and ``snakemake`` processes without their imports' cost.

Most of a small job's time is the import of torch, Lightning, scikit-learn and their like. One
process for all test processes (``warm_source``) imports them once, and forks a server
(``warm_loop``) for each that asks; a server forks a child for each command, which becomes that
command (``warm_child``). Two stand-ins, found first on ``PATH``, hand a command over and end as it
ends, so that neither the workflow nor its jobs can tell.

A stand-in stands for its process: a signal to the one reaches the other. SIGKILL of the workflow
leaves its running jobs to finish, as in life; ``Server.kill_all`` is the power cut.

What differs from a process of its own: all children share the server's hash seed, umask and
resource limits, only the three standard streams are handed over, each child is in a session of
its own, its peak memory (so the ledger's) counts what the server had loaded, and OpenMP code in
other threads than a child's first has one thread (Shoal has no such code).

Linux only: it needs subreapers, pidfds and ``/proc``.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from shoal.formats.files import locked

ROOT = Path(__file__).parents[2]
PROGRAMS = ("shoal", "snakemake")

# Libraries must not start threads when they are loaded. No child sees these variables.
QUIET = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}

# Isolated, without site and with built-in modules only: it starts in about 10 ms.
STAND_IN = """\
#!{python} -IS
import os, sys
import _signal, _socket

server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
server.connect({address!r})
name = os.path.basename(sys.argv[0])
request = ascii((name, sys.argv[1:], os.getcwd(), dict(os.environ))).encode()
length = len(request).to_bytes(4, "big")
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1, 2))
server.sendmsg([length], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
server.sendall(request)
for number in (_signal.SIGHUP, _signal.SIGINT, _signal.SIGTERM):
    _signal.signal(number, lambda number, _: server.send(bytes([number])))
answer = server.recv(8)
if not answer:
    sys.exit("the warm server is gone")
code = int(answer)
if code < 0:
    if -code != _signal.SIGKILL:
        _signal.signal(-code, _signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""


class Server:
    """The server as a test sees it: a context within which ``bin`` holds the stand-ins.

    Where no other runs yet its start takes as long as the imports, some seconds. At its end every
    command is killed.

    Args:
        folder: A folder that does not exist yet; a path in it must stay below 108 bytes.
        shared: A folder of all test processes, where the first one starts what all fork from.

    Raises:
        RuntimeError: The server could not start, or has ended; its log is in the message.

    Attributes:
        pid: Process id of the server.
    """

    def __init__(self, folder: Path, shared: Path) -> None:
        self.folder = folder.resolve()
        self.bin = self.folder / "bin"
        self._shared = shared.resolve()

    def __enter__(self) -> Self:
        self.bin.mkdir(parents=True)
        text = STAND_IN.format(python=sys.executable, address=str(self.folder / "socket"))
        for name in PROGRAMS:
            (self.bin / name).write_text(text)
            (self.bin / name).chmod(0o755)
        self._control = _connected(self._shared)
        self._lines = self._control.makefile("rwb")
        try:
            self.pid: int = self._ask(str(self.folder))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End the server, and wait until it has left no process behind."""
        with self._control, contextlib.suppress(ConnectionError):  # it may have ended before
            self._lines.close()
            self._control.shutdown(socket.SHUT_WR)
            while self._control.recv(4096):
                pass

    def environment(self) -> dict[str, str]:
        """This process's environment, in which ``shoal`` and ``snakemake`` are the stand-ins."""
        return os.environ | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def served(self) -> list[str]:
        """Command lines that run now, oldest first, such as ``shoal split --source …``."""
        lines: list[str] = self._ask("served")
        return lines

    def kill(self, substring: str) -> bool:
        """SIGKILL the oldest running command whose line holds ``substring``; whether one did.

        Processes that it started go on, as in life.
        """
        found: bool = self._ask("kill", substring)
        return found

    def kill_all(self) -> None:
        """Cut the power: SIGKILL every command and all that they started; wait for their end.

        A stand-in that has only just been started may not have asked yet; kill it first.
        """
        self._ask("kill_all")

    def _ask(self, *request: str) -> Any:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # then: no answer either
            self._lines.write(json.dumps(request).encode() + b"\n")
            self._lines.flush()
        line = self._lines.readline()
        if not line:
            raise RuntimeError(f"no warm server: {(self.folder / 'log').read_text()}")
        return json.loads(line)


def _connected(shared: Path) -> socket.socket:
    """A connection to what servers are forked from; it is started where it does not run yet."""
    address, log = shared / "warm", shared / "warm.log"
    with locked(shared / "warm.lock"):
        connection = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
            connection.connect(str(address))
            return connection
        address.unlink(missing_ok=True)
        with log.open("w") as said:
            ended = subprocess.run(
                [sys.executable, "-m", "tests.workflow.warm_source", str(address)],
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
                cwd=ROOT,
                env=os.environ | QUIET,
                check=False,
            )
        if ended.returncode:
            raise RuntimeError(f"no warm server: {log.read_text()}")
        connection.connect(str(address))
        return connection
