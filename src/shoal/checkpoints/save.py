"""Write a checkpoint so that it is whole or absent, at any instant of a kill or power loss.

    step-00001200.tmp-<pid>/   files, then manifest.json with their sizes and SHA-256, each flushed to disk
    the folder flushed, then renamed to step-00001200, then its parent flushed

The manifest ends with the SHA-256 of itself without that line, so no byte of a checkpoint goes unchecked. Nothing is
ever overwritten: a checkpoint of the same step is left as it is (a damaged one is set aside first, see `retain`).
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from shoal.checkpoints.plain import plain
from shoal.errors import CheckpointError
from shoal.files import safe_name, sync_folder, to_json

FORMAT = 1
"""Of the manifest and the layout; a reader refuses a newer one."""
MANIFEST = "manifest.json"
CHECKSUM = "sha256"
"""The manifest's key for the checksum of itself."""
Data = bytes | memoryview


def folder_name(step: int) -> str:
    """Return the folder of a step's checkpoint.

    >>> folder_name(1200)
    'step-00001200'
    """
    return f"step-{step:08d}"


def save(checkpoints: Path, step: int, states: Mapping[str, Any], meta: Mapping[str, Any]) -> Path:
    """Write the checkpoint of a step: a file for each named state, and `meta` in the manifest; return its folder.

    Raises CheckpointError when state is not plain or the disk refuses; what was there before is untouched.
    """
    target = checkpoints / folder_name(step)
    if target.exists():
        return target
    payloads = {f"{safe_name(name, 'state')}.pt": _serialise(plain(state, name)) for name, state in states.items()}
    temporary = checkpoints / f"{target.name}.tmp-{os.getpid()}"
    try:
        _write(temporary, payloads, {"format": FORMAT, "step": step, **meta})
        temporary.rename(target)
        sync_folder(checkpoints)
    except OSError as error:
        shutil.rmtree(temporary, ignore_errors=True)
        raise CheckpointError(_explain(error, checkpoints, sum(map(len, payloads.values())))) from error
    return target


def checksum(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest, its own left out; it is that of the values, however they are laid out."""
    rest = {key: value for key, value in manifest.items() if key != CHECKSUM}
    return hashlib.sha256(to_json(rest).encode()).hexdigest()


def _serialise(state: Any) -> memoryview:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getbuffer()  # not a copy: a checkpoint may be a third of memory


def _write(folder: Path, payloads: Mapping[str, Data], manifest: dict[str, Any]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    manifest["files"] = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in payloads.items()
    }
    manifest[CHECKSUM] = checksum(manifest)
    for name, data in [*payloads.items(), (MANIFEST, to_json(manifest, indent=1).encode())]:
        with (folder / name).open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    sync_folder(folder)


def _explain(error: OSError, folder: Path, size: int) -> str:
    text = f"cannot write a checkpoint of {size / 1e6:.1f} MB to {str(folder)!r}: {error.strerror}."
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        there = next(place for place in (folder, *folder.resolve().parents) if place.exists())
        free = shutil.disk_usage(there).free
        text += f" Its disk has {free / 1e6:.1f} MB free: make room there, or choose another with --runs DIR."
    return text + " The checkpoints before it are untouched."
