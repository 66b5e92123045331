"""What all tests share: one thread each, the folder of real data, and the command line as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

# Read by torch when it is first imported, here and in the processes that tests start: on few cores, threads that wait
# for one another cost more than they bring on models this small.
os.environ.setdefault("OMP_NUM_THREADS", "1")

ROOT = Path(__file__).parents[1]

type_of_cli = Callable[..., subprocess.CompletedProcess[str]]


def pytest_sessionstart() -> None:
    """Give torch one thread, whatever the environment says."""
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
        pytest.skip(f"needs real data, and there is no folder {folder}")
    return folder
