"""What devices call: ``shoal-edge``."""

from __future__ import annotations

import argparse
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shoal_edge.errors import EdgeError

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: 0 for done, 2 and one line for what was refused or did not come."""
    parser = argparse.ArgumentParser("shoal-edge", description="A pool of Shoal's on a device.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    predict = commands.add_parser("predict", help="predictions of a pool for a file's rows")
    predict.add_argument("pool", type=Path, help="the pool's folder")
    predict.add_argument(
        "rows", type=Path, help="a .csv file with the pool's columns, or .npy of encoded rows"
    )
    predict.add_argument("--out", type=Path, required=True, help="the .csv file to write")
    predict.add_argument("--log", type=Path, help="folder to which a report of the rows is added")
    predict.set_defaults(call=_predict)
    report = commands.add_parser("report", help="print what the reports of a folder say")
    report.add_argument("folder", type=Path, help="the folder")
    report.set_defaults(call=_report)
    update = commands.add_parser("update", help="bring a pool up to date from a web server")
    update.add_argument("pool", type=Path, help="the pool's folder; it need not be there yet")
    update.add_argument(
        "--from", dest="url", required=True, metavar="URL", help="where the pools are published"
    )
    update.add_argument("--root", type=Path, help="whom to trust, the first time: root.json")
    update.set_defaults(call=_update)
    asked = parser.parse_args(arguments)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it tells of each new try
    try:
        line = asked.call(asked)
    except (EdgeError, OSError) as error:
        sys.stderr.write(f"shoal-edge: error: {' '.join(_told(error).split())}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    sys.stdout.write(f"{line}\n")


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {(error.strerror or str(error)).lower()}"
    return str(error)


def _predict(asked: argparse.Namespace) -> str:
    from shoal_edge.predict_file import predict_file

    rows = predict_file(asked.pool, asked.rows, asked.out, asked.log)
    return f"{rows} rows predicted: {asked.out}"


def _report(asked: argparse.Namespace) -> str:
    from shoal_edge.report import HISTOGRAMS, read_all

    lines = []
    for report in read_all(asked.folder).values():
        since, until = (
            datetime.fromtimestamp(each, UTC).isoformat(timespec="minutes")
            for each in (report.since, report.until)
        )
        lines.append(f"pool {report.manifest}, {since} to {until}, {report.rows} rows")
        for partition, counts in report.counts.items():
            told = zip(HISTOGRAMS, counts.tolist(), strict=True)
            each = "; ".join(f"{name} {' '.join(map(str, own))}" for name, own in told)
            lines.append(f"partition {partition}: {each}")
    return "\n".join(lines) or f"{asked.folder}: no reports"


def _update(asked: argparse.Namespace) -> str:
    from shoal_edge.update import update

    done = update(asked.pool, asked.url, asked.root)
    if done.by == "nothing":
        return f"{asked.pool}: nothing newer"
    came = f"a patch of {done.size:,} bytes" if done.by == "patch" else f"{done.size:,} bytes"
    return f"{asked.pool}: new, by {came}"
