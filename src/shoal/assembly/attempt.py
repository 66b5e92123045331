"""How an attempt at a run begins, whoever performs its steps: its folder, and what its record says from then on."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from shoal.assembly.ending import now
from shoal.assembly.warm import Warm
from shoal.files import writable_folder, write_atomic
from shoal.store import RunFolder, RunId, RunLock, create, find, record, set_aside
from shoal.store.secrets import refuse_secret
from shoal.training.plan import Plan


def finished(runs: Path, run: RunId) -> RunFolder | None:
    """Return the folder of a run that is finished, None for any other."""
    folder = find(runs, run.signature, run.seed)
    return folder if folder is not None and record.status(folder) == "finished" else None


def claimed(runs: Path, run: RunId, *, again: bool, say: Callable[[str], None]) -> RunFolder:
    """Return the folder of a run, found or made; with `again` one that is there is set aside first.

    Raises LiveRunError where that one is being trained, StoreError where nothing can be written, InputError for a name
    that looks like a secret.
    """
    folder = find(runs, run.signature, run.seed)
    if folder is None or again:
        refuse_secret(run.name)
    writable_folder(runs)
    if folder is not None and again:
        with RunLock(folder):
            aside = set_aside(folder)
        say(f"the run before was set aside as {aside}")
    return create(runs, run)


def begun(folder: RunFolder, plan: Plan, warm: Warm, **facts: Any) -> None:
    """Record an attempt: its facts, that it is running, where, and where the run came from; for the lock's holder."""
    before = record.read(folder)
    if not before.get("provenance") and warm.patch:
        write_atomic(folder.patch, warm.patch)
    record.update(
        folder,
        **facts,
        status="running",
        reason=None,
        bad_step=None,
        stopped=None,
        plan=asdict(plan),
        replanned=[*(before.get("replanned") or ()), *plan.differences(before.get("plan") or {})] or None,
        started=before.get("started") or now(),
        attempts=int(before.get("attempts", 0)) + 1,
        host=platform.node(),
        pid=os.getpid(),
        provenance=before.get("provenance") or warm.facts,
    )
    record.reserve(folder)
