"""Processes that end at a chosen file-system event: `os._exit` there is what SIGKILL does, at an instant that is ours.

Every event that Python announces to audit hooks is a crash point. torch is imported once; what crashes are forks.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

EVENTS = (
    "open",
    "os.rename",
    "os.mkdir",
    "os.remove",
    "os.rmdir",
    "os.truncate",
    "os.scandir",
    "os.listdir",
    "shutil.rmtree",
)
CRASHED = 42


def crash(action: Callable[[], object], *, at: int, under: Path) -> bool:
    """Run `action` in a fork that ends at its event number `at` under a folder; return whether it got that far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # other threads of this process hold no lock of ours
        pid = os.fork()
    if pid == 0:
        seen, top = 0, str(under)

        def hook(event: str, arguments: Any) -> None:
            nonlocal seen
            if event in EVENTS and str(arguments[0]).startswith(top):
                if seen == at:
                    os._exit(CRASHED)
                seen += 1

        code = 1
        try:
            sys.addaudithook(hook)
            action()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, CRASHED)
    return code == CRASHED
