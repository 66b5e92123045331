"""Find the newest checkpoint that can be trusted, and load it.

Every byte is checked against the manifest before torch sees it, and torch loads with `weights_only=True`, always. A
damaged checkpoint is named with the reason and passed over for the one before it; when all are damaged, that is an
error, not a fresh start.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from shoal.checkpoints.save import FORMAT, MANIFEST
from shoal.errors import CheckpointError

NAME = re.compile(r"step-(\d{8,})")


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that passed every check."""

    folder: Path
    step: int
    meta: Mapping[str, Any]
    states: Mapping[str, Any]
    passed_over: Mapping[Path, str] = field(default_factory=dict[Path, str])
    """Newer checkpoints that were damaged, each with the reason."""


def candidates(checkpoints: Path) -> list[Path]:
    """Return checkpoint folders, newest first."""
    if not checkpoints.is_dir():
        return []
    return sorted((p for p in checkpoints.iterdir() if NAME.fullmatch(p.name)), key=_step, reverse=True)


def newest(checkpoints: Path) -> Loaded | None:
    """Return the newest checkpoint that can be trusted, or None where there is none at all.

    Raises CheckpointError, with every reason, when there are checkpoints and all are damaged.
    """
    reasons: dict[Path, str] = {}
    for folder in (found := candidates(checkpoints)):
        try:
            loaded = load(folder)
        except CheckpointError as error:
            reasons[folder] = str(error)
            continue
        return Loaded(loaded.folder, loaded.step, loaded.meta, loaded.states, reasons)
    if found:
        raise CheckpointError(
            "no checkpoint can be trusted:\n" + "\n".join(reasons.values()) + "\nNothing was deleted. To train from the start, "
            "add --again, which sets this run aside."
        )
    return None


def load(folder: Path) -> Loaded:
    """Return one checkpoint; raises CheckpointError naming the file that is damaged and how."""
    manifest = _manifest(folder)
    states: dict[str, Any] = {}
    for name, stated in manifest["files"].items():
        states[Path(name).stem] = _deserialise(folder / name, _checked(folder / name, stated))
    return Loaded(folder, int(manifest["step"]), manifest, states)


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, without loading them, or None."""
    try:
        for name, stated in _manifest(folder)["files"].items():
            _checked(folder / name, stated)
    except CheckpointError as error:
        return str(error)
    return None


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: Any = json.loads(path.read_bytes())
        known, files = int(manifest["format"]), manifest["files"]
        complete = isinstance(files, dict) and "step" in manifest
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error}).") from error
    if known > FORMAT:
        raise CheckpointError(f"{path}: of format {known}, newer than this Shoal reads ({FORMAT}): upgrade Shoal.")
    if not complete:
        raise CheckpointError(f"{path}: damaged (no files or step in it).")
    return manifest


def _checked(path: Path, stated: Mapping[str, Any]) -> bytes:
    """Return a file's bytes if they are those that the manifest states."""
    if path.parent.resolve() != path.resolve().parent or path.name in ("", ".", ".."):
        raise CheckpointError(f"{path}: not a file of this checkpoint.")
    try:
        size = path.stat().st_size
        if size != stated["size"]:
            raise CheckpointError(f"{path}: {size:,} bytes, expected {stated['size']:,}.")
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}.") from error
    if hashlib.sha256(data).hexdigest() != stated["sha256"]:
        raise CheckpointError(f"{path}: its content does not have the checksum it was saved with.")
    return data


def _deserialise(path: Path, data: bytes) -> Any:
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it meets: RuntimeError, UnpicklingError, EOFError, KeyError
        raise CheckpointError(f"{path}: cannot be loaded ({type(error).__name__}: {str(error).splitlines()[0]}).") from error


def _step(folder: Path) -> int:
    match = NAME.fullmatch(folder.name)
    assert match
    return int(match[1])
