"""Freed memory stays with the process: a step after the first asks the system for nothing."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from shoal.assembly.heap import keep_heap

FAULTS = """
import resource, sys, torch
if sys.argv[1] == "kept":
    from shoal.assembly.heap import keep_heap
    assert keep_heap()

def step():
    tensors = [torch.ones(5 << 20) for _ in range(5)]  # 20 MB each

step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str, **environment: str) -> int:
    command = [sys.executable, "-c", FAULTS, mode]
    plain = {key: value for key, value in os.environ.items() if not key.startswith("MALLOC_")}
    done = subprocess.run(command, env={**plain, **environment}, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the heap of glibc")
def test_a_step_after_the_first_asks_the_system_for_nothing() -> None:
    kept, left = faults("kept"), faults("left")
    assert kept < left / 4, (kept, left)


def test_a_persons_own_settings_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "100000")
    assert keep_heap() is False
