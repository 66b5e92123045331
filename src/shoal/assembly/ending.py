"""How a training that does not finish ends: what its record says of it, stopped or failed, and why."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime
from typing import Any

from shoal.assembly.launch import failure
from shoal.assembly.recorder import RunRecorder, writing
from shoal.assembly.screen import Screen
from shoal.errors import NonFiniteError, ShoalError
from shoal.store import RunFolder, record
from shoal.store.checkpoint_files import candidates
from shoal.store.lock import held_here


def stopped(folder: RunFolder, screen: Screen, reason: str, *, by: str | None, new_steps: int, **facts: Any) -> None:
    """Record that a run was asked to stop, by which signal, and how many steps it had made since it was started."""
    asked = {"by": by, "new_steps": new_steps}
    with writing(folder):
        record.conclude(folder, status="stopped", reason=reason, stopped=asked, finished=now(), **facts)
    if candidates(folder.checkpoints):
        screen.say(f"{reason}; a checkpoint was saved, and the same command continues from it.")
    else:
        screen.say(f"{reason}; nothing was trained yet, and the same command begins.")


def failed(folder: RunFolder, recorder: RunRecorder | None, screen: Screen, error: BaseException) -> None:
    """Record why training ended; the traceback goes to the log."""
    screen.end()
    interrupted = isinstance(error, KeyboardInterrupt)
    reason = "interrupted" if interrupted else f"{type(error).__name__}: {error}"
    if not interrupted:
        screen.failed(str(error) if isinstance(error, ShoalError) else traceback.format_exc())
    if not held_here(folder):
        screen.say(f"the reason could not be recorded: {folder.path} is not this training's folder any more")
        return
    changes: dict[str, Any] = {"status": "stopped" if interrupted else "failed", "reason": reason, "finished": now()}
    if isinstance(error, NonFiniteError) and error.step is not None:
        changes["bad_step"] = {"step": error.step, "cause": error.cause, **(error.batch or {})}
    if recorder is not None:
        changes |= {"seconds": recorder.seconds, "steps": int(recorder.last.get("step", 0))}
    try:
        if not interrupted:
            changes["failure"] = failure(folder, reason)
        record.conclude(folder, **changes)
    except (OSError, ShoalError) as second:  # the disk that failed the training may refuse this too
        screen.say(f"the reason could not be recorded in {folder.record}: {second}")


def now() -> str:
    """Return the time as records have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
