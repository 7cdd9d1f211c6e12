"""Kill whoever applies a patch, again and again; run in a process of its own, which forks.

``python -m tests.shoal_edge.kills OLD NEW PATCH FOLDER COUNT SEED`` says how often the old and how
often the new pool was there, and ends with code 1 at a folder that holds neither.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from shoal_edge.folder import apply, read_pool

if TYPE_CHECKING:
    from collections.abc import Callable


def main(old: Path, new: Path, patch: Path, folder: Path, count: int, seed: int) -> None:
    """Kill at every step that Python tells of, then at random times."""
    pools = {"old": read_pool(old), "new": read_pool(new)}
    pool, found = folder / "pool", Counter[str]()
    rng = random.Random(seed)

    def case(work: Callable[[], None], wait: Callable[[int], None]) -> bool:
        """Apply in a child, which is killed; whether it had ended before."""
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
        shutil.copytree(old, pool)
        child = os.fork()
        if not child:
            work()
            os._exit(0)
        wait(child)
        _, status = os.waitpid(child, 0)
        if status and not os.WIFSIGNALED(status):
            sys.exit("applying failed without being killed")
        now = read_pool(pool)
        is_there = next((name for name, files in pools.items() if files == now), None)
        if is_there is None:
            sys.exit(f"neither the old pool nor the new one, after {dict(found)}")
        found[is_there] += 1
        if is_there == "old":  # whatever lies about, the patch still applies
            apply(pool, patch)
            if read_pool(pool) != pools["new"]:
                sys.exit("the patch does not apply after a kill")
        if status == 0 and read_pool(folder / ".pool.before") != pools["old"]:
            sys.exit("the pool before is not kept")
        return status == 0

    step, ended = 0, False
    while not ended:
        step += 1

        def stepwise(last: int = step) -> None:
            left = last

            def hook(event: str, _: object) -> None:
                nonlocal left
                if event.startswith(("open", "os.", "shutil.", "fcntl.", "ctypes.")):
                    left -= 1
                    if not left:
                        os.kill(os.getpid(), signal.SIGKILL)

            sys.addaudithook(hook)
            apply(pool, patch)

        ended = case(stepwise, lambda _: None)

    def whole() -> None:
        apply(pool, patch)

    start = time.perf_counter()
    case(whole, lambda _: None)
    longest = time.perf_counter() - start
    for _ in range(count):
        delay = rng.uniform(0, longest)

        def at_random(child: int, delay: float = delay) -> None:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)

        case(whole, at_random)
    told = ", ".join(f"{name} {times}" for name, times in sorted(found.items()))
    sys.stdout.write(f"{step} steps, {count} times: {told}\n")


if __name__ == "__main__":
    *paths, number, chosen = sys.argv[1:]
    main(*map(Path, paths), int(number), int(chosen))
