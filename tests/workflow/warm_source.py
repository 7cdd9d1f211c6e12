"""What warm servers are forked from: a process that imports everything once, for all tests."""

from __future__ import annotations

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
import weakref
from pathlib import Path
from typing import NoReturn

from tests.workflow.warm_child import loaded_libraries
from tests.workflow.warm_loop import Loop, adopt_orphans

IDLE_SECONDS = 5.0
"""After that time without a server it ends."""

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
    "yte",
    "zarr",
)

# Modules that remember when they were imported.
PER_PROCESS = ("shoal.workflow.start",)


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
    loaded_libraries()
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


def fork_servers(listener: socket.socket) -> None:
    """Fork a server for each connection; end when there has been none for a while."""
    with listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        while (events := selector.select(IDLE_SECONDS)) or len(selector.get_map()) > 1:
            for key, _ in events:
                if key.fileobj is listener:
                    connection, _ = listener.accept()
                    pid = os.fork()
                    if pid == 0:
                        held = [*selector.get_map()]
                        selector.close()
                        for each in held:
                            os.close(each)
                        become_server(connection)
                    connection.close()
                    selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
                else:
                    os.waitpid(key.data, 0)
                    selector.unregister(key.fileobj)
                    os.close(key.fd)


def become_server(control: socket.socket) -> NoReturn:
    """Serve in the folder that the other end of a connection names, until it is closed."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a script's `&` ignores
        for number in (0, 1):
            os.dup2(control.fileno(), number)
        control.close()
        (folder,) = json.loads(os.read(0, 65536))
        log = os.open(Path(folder) / "log", os.O_WRONLY | os.O_CREAT)
        os.dup2(log, 2)
        os.close(log)
        adopt_orphans()
        Loop(Path(folder)).serve()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(code)


if __name__ == "__main__":
    sys.path[0] = sysconfig.get_path("scripts")  # as a console script has it
    preload()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(sys.argv[1])
    listener.listen()
    if os.fork():  # whoever started this goes on, now that it listens
        os._exit(0)
    fork_servers(listener)
    os._exit(0)
