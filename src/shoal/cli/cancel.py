"""`shoal cancel`: whoever trains is asked to save and stop, by the signal that asks for it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from shoal.cli import output
from shoal.errors import InputError
from shoal.pages.formats import clean
from shoal.store import RunFolder, is_live
from shoal.store.lock import owner
from shoal.sweeps.board import run_or_sweep

POLL_SECONDS = 0.1
TELL_SECONDS = 5.0


def run(names: Sequence[str], *, runs: Path, wait: bool) -> int:
    """Ask; return the exit code. Names that mean nothing are refused before anything is stopped."""
    meant = [(name, run_or_sweep(runs, name)) for name in names]
    asked = [(name, place) for name, place in meant if _ask(name, place)]
    told = time.monotonic()
    for name, place in asked if wait else ():
        while is_live(place):
            time.sleep(POLL_SECONDS)
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                output.note(f"{name} is still being saved")
        sys.stdout.write(f"{clean(name)}: stopped\n")
    return 0


def _ask(name: str, place: RunFolder) -> bool:
    """Ask the process that trains; return whether there is one."""
    if not is_live(place):
        sys.stdout.write(f"{clean(name)}: nobody trains it\n")
        return False
    who: Mapping[str, Any] = owner(place) or {}
    host, pid = who.get("host"), who.get("pid")
    if not isinstance(pid, int):  # it has just ended, or begun
        return is_live(place)
    if host != os.uname().nodename:
        raise InputError(f"{name} is being trained on {host}: stop it there, with 'kill {pid}'.")
    with suppress(ProcessLookupError):  # it has just ended
        try:
            os.kill(pid, signal.SIGTERM)
        except PermissionError as error:
            raise InputError(f"{name} is being trained by process {pid} of another user, who may stop it.") from error
    return True
