"""An action in a process of its own that gets only so much memory: what files that are bombs are tried on.

The process is a fork, so that torch is imported once. An import of torch alone takes some gigabytes of address space,
which the fork has already: the limit is on what it takes beyond.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

MORE = 128 << 20
"""Bytes that an action gets: a bomb needs more."""

needs_limits = pytest.mark.skipif(sys.platform != "linux", reason="limits on memory hold on Linux only")


@dataclass(frozen=True)
class Outcome:
    """What an action raised (empty where it raised nothing), and the modules that it imported."""

    error: str
    message: str
    imported: list[str]


def limited(action: Callable[[], object], *, more: int = MORE) -> Outcome:
    """Run an action in a fork with `more` bytes of memory; fails where the process does not come back."""
    here, there = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        try:
            os.close(here)
            _run(action, more, there)
        finally:
            os._exit(1)
    os.close(there)
    with os.fdopen(here) as file:
        told = file.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert told, f"the process ended with {code}"
    return Outcome(**json.loads(told))


def _run(action: Callable[[], object], more: int, there: int) -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + more
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before, error, message = set(sys.modules), "", ""
    try:
        action()
    except BaseException as raised:  # noqa: BLE001  (the process ends here)
        error, message = type(raised).__name__, str(raised)
    imported = sorted(name for name in set(sys.modules) - before if not name.startswith("encodings."))
    told = {"error": error, "message": message, "imported": imported}
    with os.fdopen(there, "w") as file:
        file.write(json.dumps(told))
