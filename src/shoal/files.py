"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shoal.errors import CorruptError, ShoalError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path to write to, which becomes ``path`` when the block ends well.

    The temporary path is a neighbour with the same suffixes, so that the rename is atomic and
    a writer that looks at suffixes works. When the block raises, it is removed.
    """
    final = Path(path)
    final.parent.mkdir(parents=True, exist_ok=True)
    aside = final.with_name(f".{os.getpid()}-{final.name}")
    try:
        yield aside
        aside.replace(final)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        reason = os.strerror(error.errno).lower()
        raise ShoalError(
            f"{final}: not written, {reason}; free some space or raise the quota"
        ) from None
    finally:
        if aside.is_dir():
            shutil.rmtree(aside)
        else:
            aside.unlink(missing_ok=True)


def write_json(path: str | os.PathLike[str], content: Any) -> None:  # noqa: ANN401 - any JSON value
    """Write ``content`` as indented JSON with sorted keys, atomically."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
    with replacing(path) as aside:
        aside.write_text(text + "\n")


def read_json(path: str | os.PathLike[str]) -> Any:  # noqa: ANN401 - any JSON value
    """Content of a JSON file.

    Raises:
        SourceError: The file does not exist.
        CorruptError: It is not JSON.
    """
    try:
        return json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise SourceError(f"{path}: no such file") from None
    except ValueError as error:
        raise CorruptError(f"{path}: not readable as JSON ({error})") from None
