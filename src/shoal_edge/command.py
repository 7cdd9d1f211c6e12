"""What devices call: ``shoal-edge``."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from shoal_edge.errors import PatchError


def main() -> None:
    """Run the command line: 0 for done, 2 and one line for what was refused or did not come."""
    parser = argparse.ArgumentParser(prog="shoal-edge", description="A pool on a device.")
    commands = parser.add_subparsers(required=True)
    update = commands.add_parser("update", help="bring a pool up to date from a web server")
    update.add_argument("pool", type=Path, help="the pool's folder; it need not be there yet")
    update.add_argument(
        "--from", dest="url", required=True, metavar="URL", help="where the pools are published"
    )
    update.add_argument("--root", type=Path, help="whom to trust, the first time: root.json")
    update.set_defaults(call=_update)
    asked = parser.parse_args()
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each new try
    try:
        line = asked.call(asked)
    except PatchError as error:
        sys.stderr.write(f"shoal-edge: error: {' '.join(str(error).split())}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    sys.stdout.write(f"{line}\n")


def _update(asked: argparse.Namespace) -> str:
    from shoal_edge.update import update

    done = update(asked.pool, asked.url, asked.root)
    if done.by == "nothing":
        return f"{asked.pool}: nothing newer"
    came = f"a patch of {done.size:,} bytes" if done.by == "patch" else f"{done.size:,} bytes"
    return f"{asked.pool}: new, by {came}"
