"""What all tests share: one thread each, no deadlines, the folder of real data, the command line as a process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import HealthCheck, settings

# No test depends on how fast the machine is; continuous integration tries the same examples every time.
settings.register_profile(
    "house", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("house")

# Read by torch when it is first imported, here and in the processes that tests start: on few cores, threads that wait
# for one another cost more than they bring on models this small.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Some virtual machines announce AMX and then trap it: the first product in bf16 would end the process.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_FP16")

ROOT = Path(__file__).parents[1]


def pytest_sessionstart() -> None:
    """Hear Ctrl-C, whatever has started the tests; give torch one thread, whatever the environment says."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of real data that lies beside the repository, or skip the test where there is none."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("needs real data, and there is no folder ../shared/data beside the repository")
    return folder


@pytest.fixture(autouse=True, scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep what tests leave in Shoal's cache out of the home folder, and what lies there out of tests."""
    os.environ["SHOAL_CACHE"] = str(tmp_path_factory.mktemp("cache"))


class ShoalCli(Protocol):
    """`shoal ARGS` as a process: in the test's own folder unless `cwd` says otherwise, with `env` on top of ours."""

    def __call__(
        self, args: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]: ...


@pytest.fixture
def shoal_cli(tmp_path: Path) -> ShoalCli:
    """Return a function that runs the command line and gives back its exit code and what it printed."""

    def run(
        args: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "shoal", *args],
            cwd=cwd or tmp_path,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )

    return run
