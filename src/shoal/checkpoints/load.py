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
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from shoal.checkpoints.save import CHECKSUM, FORMAT, MANIFEST, checksum
from shoal.errors import CheckpointError
from shoal.files import SAFE_NAME

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
            "no checkpoint can be trusted:\n"
            + "\n".join(reasons.values())
            + "\nNothing was deleted. To train from the start, add --again, which sets this run aside."
        )
    return None


def load(folder: Path) -> Loaded:
    """Return one checkpoint; raises CheckpointError naming the file that is damaged and how."""
    manifest = _manifest(folder)
    states: dict[str, Any] = {}
    for name, stated in manifest["files"].items():
        path = _file(folder, name)
        states[path.stem] = _deserialise(path, _checked(path, stated))
    return Loaded(folder, int(manifest["step"]), manifest, states)


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, without loading them, or None."""
    try:
        for name, stated in _manifest(folder)["files"].items():
            _checked(_file(folder, name), stated)
    except CheckpointError as error:
        return str(error)
    return None


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    try:
        manifest: Any = json.loads(path.read_bytes())
        version, files, stated = manifest["format"], manifest["files"], manifest.get(CHECKSUM)
        newer = version > FORMAT
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged ({type(error).__name__}: {error}).") from error
    if newer:
        raise CheckpointError(f"{path}: of format {version}, newer than this Shoal reads ({FORMAT}): upgrade Shoal.")
    if stated != checksum(manifest):
        raise CheckpointError(f"{path}: its content does not have the checksum it was saved with.")
    if not isinstance(files, dict) or manifest.get("step") != _step(folder):
        raise CheckpointError(f"{path}: of step {manifest.get('step')}, in the folder of another.")
    return manifest


def _checked(path: Path, stated: Mapping[str, Any]) -> bytes:
    """Return a file's bytes if they are those that the manifest states; its size is looked at before it is read."""
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


def _file(folder: Path, name: str) -> Path:
    """Return the path of a file that a manifest names, which must lie in the checkpoint itself."""
    path = folder / name
    if not SAFE_NAME.fullmatch(name) or path.is_symlink():
        raise CheckpointError(f"{folder / MANIFEST}: names {name!r}, which is not a file of this checkpoint.")
    return path


def _deserialise(path: Path, data: bytes) -> Any:
    """Return the state in a file's bytes. The bytes are those that were saved, but by whom is another question."""
    try:
        _refuse_bombs(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except MemoryError:
        raise
    except Exception as error:  # torch raises what it meets: RuntimeError, UnpicklingError, EOFError, KeyError
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(f"{path}: cannot be loaded ({type(error).__name__}: {reason}).") from error


def _refuse_bombs(data: bytes) -> None:
    """Refuse an archive that unpacks to more than its own size: torch stores tensors as they are."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
    if any(m.compress_type != zipfile.ZIP_STORED for m in members) or sum(m.file_size for m in members) > len(data):
        raise ValueError("compressed: torch stores tensors as they are")


def _step(folder: Path) -> int:
    match = NAME.fullmatch(folder.name)
    assert match
    return int(match[1])
