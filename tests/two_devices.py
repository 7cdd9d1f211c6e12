"""Jobs that see two devices, which are CPU processes: Lightning starts this module again.

``python -m tests.two_devices train KIND FOLDER SECONDS STEP`` trains as ``tests.trainings`` does,
with SIGTERM after a step unless that is 0; with other arguments it is the command line.
"""

from __future__ import annotations

import signal
import sys
import warnings
from pathlib import Path
from unittest.mock import patch


def main() -> None:
    """Do what the arguments say; they stay as they are, since the helper gets them too."""
    import shoal.embed.train
    import shoal.training.fit
    from shoal.cli import main as command_line
    from tests.trainings import attempt

    with (
        patch.object(shoal.embed.train, "visible_devices", lambda: 2),
        patch.object(shoal.training.fit, "visible_devices", lambda: 2),
    ):
        if sys.argv[1] != "train":
            command_line()
            return
        warnings.simplefilter("error")
        _, _, kind, folder, seconds, step = sys.argv
        kill = (int(step), signal.SIGTERM) if int(step) else None
        attempt(kind, Path(folder), float(seconds), kill)


if __name__ == "__main__":
    main()
