"""What started this process, as its environment tells: one of several ranks, or a restart that no person asked for.

torchrun restarts what ended badly, and Slurm runs a requeued job again; both say so in a variable. A run that fails in
the same way each time would then fail for ever: after two such failures a restart gives it up. A person who starts it
is always obeyed.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from shoal.errors import InputError
from shoal.store import RunFolder, record
from shoal.store.checkpoint_files import candidates, step_of

RANKS = "WORLD_SIZE"
RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
MOST_FAILURES = 2


def refuse_ranks() -> None:
    """Raise InputError where this process is one of several that are to train together."""
    ranks = _number(RANKS)
    if ranks > 1:
        raise InputError(
            f"{RANKS} = {ranks} says that this process is one of {ranks} that train together, and training on several "
            "devices is not there yet: a run is trained by one process. Start one (torchrun --nproc-per-node 1, or no "
            f"torchrun at all), or unset {RANKS} where something else has set it. Other seeds or settings are other "
            "runs, and may be trained side by side."
        )


def restarted() -> str | None:
    """Return the variable by which a launcher says that it has started this process again, with its value."""
    return next((f"{name} = {count}" for name in RESTARTS if (count := _number(name))), None)


def failure(folder: RunFolder, reason: str) -> dict[str, Any]:
    """Return what the record keeps of a failure: `times` counts those with one reason and no checkpoint in between."""
    newest = next((step_of(path) for path in candidates(folder.checkpoints)), None)
    same = {"reason": reason, "checkpoint": newest}
    before: Mapping[str, Any] = record.known(folder).get("failure") or {}
    again = {key: before.get(key) for key in same} == same
    return {**same, "times": int(before.get("times", 0)) + 1 if again else 1}


def refuse_repeating(folder: RunFolder) -> None:
    """Raise InputError where nobody but a launcher starts a run that failed twice in the same way and got nowhere."""
    facts = record.read(folder)
    before: Mapping[str, Any] = facts.get("failure") or {}
    said, times, reason = restarted(), int(before.get("times", 0)), str(before.get("reason")).rstrip(".")
    if said is not None and facts.get("status") == "failed" and times >= MOST_FAILURES:
        raise InputError(
            f"the run {folder.label} is given up: it failed {times} times in a row without a new checkpoint, and each "
            f"time for this reason: {reason}. A restart by a launcher ({said}) does not try it again. Once the "
            "cause is removed, start it by hand: it goes on from its last checkpoint."
        )


def _number(name: str) -> int:
    text = os.environ.get(name, "")
    return int(text) if text.isascii() and text.isdigit() else 0
