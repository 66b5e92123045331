"""Find the newest checkpoint that can be trusted, and load it.

Every byte is checked against the manifest before torch sees it, and torch loads with `weights_only=True`, always. A
damaged checkpoint is named with the reason and passed over for the one before it; when all are damaged, that is an
error, not a fresh start.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.torch_version import TorchVersion

from shoal.checkpoints.names import check_archive
from shoal.errors import CheckpointError, OutOfMemoryError, ran_out
from shoal.files import size
from shoal.store.checkpoint_files import candidates, manifest_of, matching, paths_of

SAFE = TorchVersion("2.10")
"""The first version of torch whose `weights_only=True` keeps its word, as far as is known."""


@dataclass(frozen=True)
class Loaded:
    """A checkpoint that passed every check."""

    folder: Path
    step: int
    meta: Mapping[str, Any]
    states: Mapping[str, Any]
    passed_over: Mapping[Path, str] = field(default_factory=dict[Path, str])
    """Newer checkpoints that were damaged, each with the reason."""

    @contextmanager
    def understood(self) -> Generator[None]:
        """Within, state that is not what a training saves (the file is whole, but of another hand) is an error."""
        try:
            yield
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise CheckpointError(
                f"{self.folder}: it is whole, but holds no state that this Shoal saved ({type(error).__name__}: "
                f"{error}). Remove it, and the one before it is used; or train from the start with --again."
            ) from error


def newest(checkpoints: Path) -> Loaded | None:
    """Return the newest checkpoint that can be trusted, or None where there is none at all.

    Raises CheckpointError, with every reason, when there are checkpoints and all are damaged.
    """
    _check_torch()
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
    """Return one checkpoint; raises CheckpointError naming the file that is damaged and how.

    Raises OutOfMemoryError where there is no memory for it, which says nothing against it: the one before is not meant.
    """
    _check_torch()
    manifest = manifest_of(folder)
    paths = paths_of(folder, manifest)
    try:
        states = {path.stem: _deserialise(path, _read(path, stated)) for path, stated in paths.items()}
    except MemoryError as error:
        whole = sum(path.stat().st_size for path in paths)
        raise OutOfMemoryError(
            f"{folder}: there was not enough memory left to load its {size(whole)}. It was left as it is: free "
            "memory, or go on where there is more."
        ) from error
    return Loaded(folder, int(manifest["step"]), manifest, states)


def _check_torch() -> None:
    if TorchVersion(torch.__version__) < SAFE:
        raise CheckpointError(
            f"torch {torch.__version__} cannot load files of others safely (CVE-2025-32434, CVE-2026-24747): expected "
            "torch 2.10 or newer. pip install -U torch"
        )


def _read(path: Path, stated: Mapping[str, Any]) -> bytes:
    """Return a file's bytes if they are those that the manifest states."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}.") from error
    matching(path, hashlib.sha256(data).hexdigest(), stated)
    return data


def _deserialise(path: Path, data: bytes) -> Any:
    """Return the state in a file's bytes. The bytes are those that were saved, but by whom is another question."""
    try:
        check_archive(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises what it meets: RuntimeError, UnpicklingError, EOFError, KeyError
        if ran_out(error):
            raise MemoryError from error
        reason = (str(error).splitlines() or [""])[0]
        raise CheckpointError(f"{path}: cannot be loaded ({type(error).__name__}: {reason}).") from error
