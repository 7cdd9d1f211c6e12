"""A row's bits depend neither on its place nor on the kernels that libraries choose."""

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__ as dispatched

from shoal import cli
from shoal.formats.ledger import Ledger
from tests.kernel_digests import SUBJECTS

PLAIN = " ".join(dispatched)
"""Instructions that numpy would use beside its least ones."""
KERNELS = [
    {"OPENBLAS_CORETYPE": "Haswell"},
    {"OPENBLAS_CORETYPE": "Zen", "OPENBLAS_NUM_THREADS": "2"},
    {"OPENBLAS_CORETYPE": "SkylakeX"},
    {"OPENBLAS_CORETYPE": "Nehalem", "NPY_DISABLE_CPU_FEATURES": PLAIN},
]
NEEDS = {"Haswell": "avx2", "Zen": "avx2", "SkylakeX": "avx512f", "Nehalem": "sse4_2"}
CHOICES = ("OPENBLAS_CORETYPE", "NPY_DISABLE_CPU_FEATURES", "ATEN_CPU_CAPABILITY")


def flags():
    """Flags of the processor, as Linux names them; none on other processors than x86."""
    text = Path("/proc/cpuinfo").read_text() if sys.platform == "linux" else ""
    lines = [line for line in text.splitlines() if line.startswith("flags")]
    return set(lines[0].split()) if lines else set()


def skip_without(flag):
    """Skip where the processor has not what a kernel needs."""
    if flag not in flags():
        pytest.skip(f"this processor has no {flag}")


def answer(module, environment):
    """Output of a test's script with other kernels."""
    kept = {name: value for name, value in os.environ.items() if name not in CHOICES}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module]
    result = subprocess.run(
        command,
        env=kept | threads | environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@cache
def usual():
    """Digests with the kernels that libraries choose themselves."""
    return answer("tests.kernel_digests", {})


@pytest.mark.parametrize("subject", SUBJECTS)
def test_rows_have_the_same_bits_at_any_place(subject):
    """In another order, alone and in batches of another size."""
    assert usual()[subject]["moved"] == []


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel["OPENBLAS_CORETYPE"])
def test_rows_have_the_same_bits_under_every_kernel(kernel):
    """Encoders, embedding, partitions, near-ties among them, and routes; also at any place."""
    skip_without(NEEDS[kernel["OPENBLAS_CORETYPE"]])

    assert answer("tests.kernel_digests", kernel) == usual()


@pytest.mark.parametrize(
    ("capability", "flag"), [("default", "sse4_2"), ("avx2", "avx2"), ("avx512", "avx512f")]
)
def test_networks_give_a_row_the_same_bits_at_any_place(capability, flag):
    """On one processor, with any of torch's kernels; between processors they may differ."""
    skip_without(flag)
    environment = {"ATEN_CPU_CAPABILITY": capability}

    moved = answer("tests.kernel_networks", environment)

    assert moved == {"scarf": [], "vicreg": [], "predict": [], "layer": []}


@pytest.mark.parametrize(("given", "expected"), [(None, "AVX2"), ("COMPATIBLE", "COMPATIBLE")])
def test_every_command_makes_torch_round_alike_at_any_place(monkeypatch, given, expected):
    """The variable is set before a command imports torch, unless the user has set it."""
    monkeypatch.setenv("MKL_CBWR", given or "")
    if given is None:
        monkeypatch.delenv("MKL_CBWR")
    monkeypatch.setattr(sys, "argv", ["shoal", "--help"])
    monkeypatch.setattr(sys, "path", list(sys.path))

    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main()

    assert os.environ["MKL_CBWR"].removesuffix(",STRICT") == expected


def test_the_ledger_says_how_torch_rounds(monkeypatch):
    """The variable stands beside the versions of libraries."""
    monkeypatch.setitem(sys.modules, "torch", pytest.importorskip("torch"))
    monkeypatch.setenv("MKL_CBWR", "COMPATIBLE")

    assert Ledger("t").record()["versions"]["MKL_CBWR"] == "COMPATIBLE"
