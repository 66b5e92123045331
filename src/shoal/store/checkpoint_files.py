"""A checkpoint as plain files: what its manifest states, and whether its bytes are still those that were saved.

    step-00001200/{manifest.json, *.pt}

The manifest has format, step, and size and SHA-256 of every file; it ends with the SHA-256 of itself without that
line. Nothing here loads what the files hold, so it needs no torch.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from shoal.errors import CheckpointError, other_format
from shoal.files import SAFE_NAME, sha256_file, to_json

FORMAT = 1
"""Of the manifest and the layout; a reader refuses a newer one."""
MANIFEST = "manifest.json"
MOST_BYTES = 1 << 20
"""Of a manifest: a larger file is none of ours, and is not read."""
CHECKSUM = "sha256"
"""The manifest's key for the checksum of itself."""
NAME = re.compile(r"step-(\d{8,})")


def folder_name(step: int) -> str:
    """Return the folder of a step's checkpoint.

    >>> folder_name(1200)
    'step-00001200'
    """
    return f"step-{step:08d}"


def step_of(folder: Path) -> int:
    """Return the step of a checkpoint by the name of its folder."""
    match = NAME.fullmatch(folder.name)
    assert match
    return int(match[1])


def candidates(checkpoints: Path) -> list[Path]:
    """Return checkpoint folders, newest first."""
    if not checkpoints.is_dir():
        return []
    return sorted((p for p in checkpoints.iterdir() if NAME.fullmatch(p.name)), key=step_of, reverse=True)


def checksum(manifest: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a manifest, its own left out; it is that of the values, however they are laid out."""
    rest = {key: value for key, value in manifest.items() if key != CHECKSUM}
    return hashlib.sha256(to_json(rest).encode()).hexdigest()


def manifest_of(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's manifest; raises CheckpointError where it is damaged, of a newer format, or another's."""
    path = folder / MANIFEST
    try:
        found: Any = json.loads(_short(path))
        manifest = cast(dict[str, Any], found) if isinstance(found, dict) else {}
        own = checksum(manifest)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: damaged: it is not the JSON that was written there.") from error
    version, files, stated = manifest.get("format"), manifest.get("files"), manifest.get(CHECKSUM)
    if type(version) is not int:
        raise CheckpointError(f"{path}: damaged: it does not say its format.")
    if version != FORMAT:
        raise CheckpointError(f"{path}: {other_format(version, FORMAT)}.")
    if stated != own:
        raise CheckpointError(f"{path}: its content does not have the checksum it was saved with.")
    if not isinstance(files, dict):
        raise CheckpointError(f"{path}: damaged: it names no files.")
    if manifest.get("step") != step_of(folder):
        raise CheckpointError(f"{path}: of step {manifest.get('step')}, in the folder of another.")
    return manifest


def _short(path: Path) -> bytes:
    if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
        raise CheckpointError(f"{path}: damaged: it is no file.")
    with path.open("rb") as file:
        content = file.read(MOST_BYTES + 1)
    if len(content) > MOST_BYTES:
        raise CheckpointError(f"{path}: damaged: it has more than {MOST_BYTES:,} bytes.")
    return content


def paths_of(folder: Path, manifest: Mapping[str, Any]) -> dict[Path, Mapping[str, Any]]:
    """Return the files that a manifest names, which must lie in the checkpoint itself, with what it states of each.

    Sizes are looked at before anything is read; raises CheckpointError.
    """
    found: dict[Path, Mapping[str, Any]] = {}
    for name, stated in cast(dict[str, Any], manifest["files"]).items():
        path = folder / name
        if not SAFE_NAME.fullmatch(name) or path.is_symlink():
            raise CheckpointError(f"{folder / MANIFEST}: names {name!r}, which is not a file of this checkpoint.")
        known = cast(dict[str, Any], stated) if isinstance(stated, dict) else {}
        if type(known.get("size")) is not int:
            raise CheckpointError(f"{folder / MANIFEST}: does not say the size of {name!r}.")
        try:
            there = path.stat()
        except OSError as error:
            raise CheckpointError(f"{path}: {error.strerror}.") from error
        if there.st_size != known["size"] or not stat.S_ISREG(there.st_mode):
            raise CheckpointError(f"{path}: {there.st_size:,} bytes, expected a file of {known['size']:,}.")
        found[path] = known
    return found


def matching(path: Path, digest: str, stated: Mapping[str, Any]) -> None:
    """Raise CheckpointError where a file's SHA-256 is not the one that was saved."""
    if digest != stated.get("sha256"):
        raise CheckpointError(f"{path}: its content does not have the checksum it was saved with.")


def damage(folder: Path) -> str | None:
    """Return what is wrong with a checkpoint's files, without loading them, or None."""
    try:
        for path, stated in paths_of(folder, manifest_of(folder)).items():
            try:
                digest = sha256_file(path)
            except OSError as error:
                raise CheckpointError(f"{path}: {error.strerror}.") from error
            matching(path, digest, stated)
    except CheckpointError as error:
        return str(error)
    return None
