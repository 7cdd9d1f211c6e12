"""A web server of a folder, on this machine: plain, or as an attacker or a bad line would be."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class WebServer(ThreadingHTTPServer):
    """Serves a folder.

    Attributes:
        folder: The folder.
        spoil: Turns a path and its content into what is sent; None as content is a 404.
        cut: Bytes of a body after which the line breaks.
        ranges: Whether it sends parts of files, as most servers do, but not Python's.
        asked: Method and path of each request.
        bodies: Bytes of bodies sent.
        wire: All bytes of requests and answers, without what lies below HTTP.
    """

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.honest()
        self.forget()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def honest(self) -> None:
        """Serve the folder plainly from now on."""
        self.spoil: Callable[[str, bytes | None], bytes | None] | None = None
        self.cut: int | None = None
        self.ranges = False

    def forget(self) -> None:
        """Count from nothing again."""
        self.asked: list[tuple[str, str]] = []
        self.bodies = 0
        self.wire = 0

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a client that has left."""


class _Counted:
    """A file of which bytes are counted."""

    def __init__(self, file: Any, count: Callable[[int], None]) -> None:
        self._file = file
        self._count = count

    def write(self, content: bytes) -> int:
        self._count(len(content))
        return int(self._file.write(content))

    def readline(self, limit: int = -1) -> bytes:
        line: bytes = self._file.readline(limit)
        self._count(len(line))
        return line

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class _Handler(SimpleHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def setup(self) -> None:
        super().setup()
        files: Any = [_Counted(each, self._count) for each in (self.rfile, self.wfile)]
        self.rfile, self.wfile = files

    def _count(self, size: int) -> None:
        self.server.wire += size

    def copyfile(self, source: Any, outputfile: Any) -> None:
        content = source.read()
        self.server.bodies += len(content)
        outputfile.write(content)

    def translate_path(self, path: str) -> str:
        self.directory = str(self.server.folder)
        return super().translate_path(path)

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        server = self.server
        server.asked.append((self.command, self.path))
        if server.spoil is None and server.cut is None and not server.ranges:
            super().do_GET()
            return
        path = server.folder / self.path.lstrip("/")
        content = path.read_bytes() if path.is_file() else None
        if server.spoil is not None:
            content = server.spoil(self.path, content)
        if content is None:
            self.send_error(404)
            return
        start = 0
        if server.ranges and "Range" in self.headers:
            start = int(self.headers["Range"].removeprefix("bytes=").rstrip("-"))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        if self.command == "HEAD":
            return
        body = content[start:] if server.cut is None else content[start : start + server.cut]
        server.bodies += len(body)
        self.wfile.write(body)
        self.close_connection = len(body) < len(content) - start

    def do_HEAD(self) -> None:
        if self.server.spoil is None:
            self.server.asked.append((self.command, self.path))
            super().do_HEAD()
        else:
            self.do_GET()


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """A server of a folder, as long as it is needed."""
    with WebServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
