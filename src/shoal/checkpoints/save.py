"""Write a checkpoint so that it is whole or absent, at any instant of a kill or power loss.

    step-00001200.tmp-<pid>/   files, then manifest.json with their sizes and SHA-256, each flushed to disk
    the folder flushed, then renamed to step-00001200, then its parent flushed

The manifest ends with the SHA-256 of itself without that line, so no byte of a checkpoint goes unchecked. Nothing is
ever overwritten: a checkpoint of the same step is left as it is (a damaged one is set aside first, see `retain`). One
that was saved before the evaluation of its step (`due`) makes way for the one that is saved after it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from shoal.checkpoints.plain import enqueued, gpus, size_of
from shoal.checkpoints.retain import put_in_place, remove
from shoal.errors import CheckpointError
from shoal.files import safe_name, size, sync_folder, to_json, why
from shoal.store.checkpoint_files import CHECKSUM, FORMAT, MANIFEST, checksum, folder_name, manifest_of

DUE = "due"
"""The manifest's key for a checkpoint whose step has an evaluation still to be done."""
Data = bytes | memoryview


def save(checkpoints: Path, step: int, states: Mapping[str, Any], meta: Mapping[str, Any]) -> Path:
    """Write the checkpoint of a step: a file for each named state, and `meta` in the manifest; return its folder.

    Raises CheckpointError when state is not plain or the disk refuses; what was there before is untouched.
    """
    return write(checkpoints, step, staged(states), meta)


@dataclass(frozen=True)
class Staged:
    """Named states as a copy of their own, which training may go on from; on its way where it comes from a GPU."""

    states: Mapping[str, Any]
    events: Sequence[Any]

    def arrived(self) -> Mapping[str, Any]:
        """Return the states once all of them are there."""
        for event in self.events:
            event.synchronize()
        return self.states


def staged(states: Mapping[str, Any]) -> Staged:
    """Copy named states, in canonical form; raises CheckpointError where one is not plain."""
    copy = {safe_name(name, "state"): enqueued(state, name) for name, state in states.items()}
    events = [torch.cuda.current_stream(device).record_event() for device in gpus(states)]
    return Staged(copy, events)


def write(checkpoints: Path, step: int, states: Staged, meta: Mapping[str, Any]) -> Path:
    """Write the checkpoint of a step from what `staged` returned; raises CheckpointError where the disk refuses."""
    target = checkpoints / folder_name(step)
    if target.exists() and (DUE in meta or not _is_due(target)):
        return target
    temporary = checkpoints / f"{target.name}.tmp-{os.getpid()}"
    try:
        checkpoints.mkdir(exist_ok=True)  # and not its parent: a run's folder that was removed does not come back
        _write(temporary, states.arrived(), {"format": FORMAT, "step": step, **meta})
        stood = put_in_place(temporary, target)
        sync_folder(checkpoints)
        if stood is not None:
            remove(stood)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(
            f"cannot write a checkpoint of {size(size_of(states.states))} to {str(checkpoints)!r}: "
            f"{why(error, checkpoints)} The checkpoints before it are untouched."
        ) from error
    return target


def _is_due(folder: Path) -> bool:
    try:
        return DUE in manifest_of(folder)
    except CheckpointError:
        return False


class Hashed:
    """A file to which torch writes: it is hashed as it goes, and never in memory as a whole.

    torch's writer makes another error of one that its file raises: the first is kept, and `close` raises it.
    """

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.digest, self.size = hashlib.sha256(), 0
        self.error: OSError | None = None

    def write(self, data: Data) -> int:
        """Write and hash; once a write has failed, only pretend to."""
        if self.error is None:
            try:
                self.file.write(data)
                self.digest.update(data)
                self.size += len(data)
            except OSError as error:
                self.error = error
        return len(data)

    def flush(self) -> None:
        """Do nothing: `close` does."""

    def close(self) -> dict[str, Any]:
        """Flush the file to disk; return its size and SHA-256, or raise OSError for a write that failed."""
        with self.file:
            if self.error is not None:
                raise self.error
            self.file.flush()
            os.fsync(self.file.fileno())
        return {"size": self.size, "sha256": self.digest.hexdigest()}


def _write(folder: Path, states: Mapping[str, Any], manifest: dict[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    manifest["files"] = {}
    for name, state in states.items():
        file = Hashed(folder / f"{name}.pt")
        try:
            torch.save(state, cast(Any, file))
        finally:
            manifest["files"][f"{name}.pt"] = file.close()
    manifest[CHECKSUM] = checksum(manifest)
    with (folder / MANIFEST).open("wb") as text:
        text.write(to_json(manifest, indent=1).encode())
        text.flush()
        os.fsync(text.fileno())
    sync_folder(folder)
