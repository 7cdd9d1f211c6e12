"""Files of a web server, over lines that are thin and break."""

from __future__ import annotations

import io
import os
import time
from contextlib import closing, contextmanager
from typing import IO, TYPE_CHECKING

from tuf.api.exceptions import (
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    LengthOrHashMismatchError,
    SlowRetrievalError,
)
from tuf.ngclient import Urllib3Fetcher
from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

SLOWEST = 50
"""Bytes a second, below which a server is left."""

PATIENCE = 60
"""Seconds that a server may take longer."""

_NO_HEAD = (405, 501)
_PARTIAL = 206


class Fetcher(Urllib3Fetcher):
    """python-tuf's way to read URLs, for thin lines.

    Whether there is a newer root is asked without a body: mostly there is none, and the page that
    says so may be longer than all else. What has come of a target when the line breaks stays in a
    folder, and the next try goes on from there. A server that trickles is left.

    Args:
        parts: Folder of targets of which a part has come.
    """

    def __init__(self, parts: Path) -> None:
        super().__init__()
        self._parts = parts

    def _fetch(self, url: str) -> Generator[bytes]:
        if url.endswith(".root.json"):
            try:
                self._request("HEAD", url).release_conn()
            except DownloadHTTPError as error:
                if error.status_code not in _NO_HEAD:
                    raise
        return self._chunks(self._request("GET", url))

    @contextmanager
    def download_file(self, url: str, max_length: int) -> Iterator[IO[bytes]]:
        """A file with the content of a URL, see :class:`tuf.ngclient.FetcherInterface`."""
        if url.endswith(".json"):
            content = io.BytesIO()
            self._write(self._fetch(url), content, max_length)
            content.seek(0)
            yield content
            return
        part = self._parts / url.rpartition("/")[2]
        for other in self._parts.iterdir():
            if other != part:
                other.unlink()
        with part.open("a+b") as file:
            try:
                self._complete(url, file, max_length)
                file.seek(0)
                yield file
            except (LengthOrHashMismatchError, DownloadLengthMismatchError, DownloadHTTPError):
                part.unlink()
                raise
        part.unlink()

    def _complete(self, url: str, file: IO[bytes], length: int) -> None:
        """Add to a file what it lacks."""
        start = file.seek(0, os.SEEK_END)
        if start == length:
            return
        response = self._request("GET", url, {"Range": f"bytes={start}-"} if start else None)
        told = response.headers.get("Content-Range", "")
        if response.status != _PARTIAL or not told.startswith(f"bytes {start}-"):
            start = file.truncate(0)
        self._write(self._chunks(response), file, length - start)

    def _write(self, chunks: Generator[bytes], file: IO[bytes], length: int) -> None:
        """Write what comes to a file, if it is not too long."""
        with closing(chunks):
            for chunk in chunks:
                length -= len(chunk)
                if length < 0:
                    raise DownloadLengthMismatchError("it is longer than it may be")
                file.write(chunk)

    def _request(
        self, method: str, url: str, headers: dict[str, str] | None = None
    ) -> BaseHTTPResponse:
        try:
            response = self._proxy_env.request(
                method,
                url,
                headers=headers,
                preload_content=False,
                timeout=Timeout(self.socket_timeout),
            )
        except HTTPError as error:
            raise DownloadError(_reason(error)) from error
        if response.status >= 400:
            response.close()
            raise DownloadHTTPError(f"the server answers {response.status}", response.status)
        return response

    def _chunks(self, response: BaseHTTPResponse) -> Generator[bytes]:
        begun, count = time.monotonic(), 0
        try:
            while chunk := response.read1(self.chunk_size):
                count += len(chunk)
                yield chunk
                seconds = time.monotonic() - begun
                if count < SLOWEST * (seconds - PATIENCE):
                    raise SlowRetrievalError(f"{count} bytes in {seconds:.0f} seconds")
        except HTTPError as error:
            raise DownloadError(_reason(error)) from error
        finally:
            response.close()


def _reason(error: HTTPError) -> str:
    return str(getattr(error, "reason", None) or error)
