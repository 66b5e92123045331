"""Where weights to start from come from: a run, or a safetensors file. Nothing is unpickled."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from shoal.assembly.weights import weights_of
from shoal.errors import RecipeError, StoreError
from shoal.files import expanded
from shoal.recipe import yaml_text
from shoal.store import RunFolder, is_live, record, resolve


def weights_at(source: str, runs: Path) -> tuple[Mapping[str, Tensor], str]:
    """Return the tensors of a safetensors file or of a run, and what to call it.

    Raises RecipeError for what is neither, or is being trained.
    """
    if _is_file(source):
        path = expanded(source)
        return _from_file(path, source), str(path)
    folder = _run(source, runs)
    if is_live(folder):
        raise RecipeError(
            f"init.from = {source}: the run {folder.label} is being trained, so its weights are not final. Wait for "
            "its end; or take its last checkpoint as it is now: shoal export RUN --weights FILE.safetensors."
        )
    return weights_of(folder), folder.label


def _is_file(source: str) -> bool:
    path = expanded(source)
    return path.suffix == ".safetensors" or path.is_file()


def _run(source: str, runs: Path) -> RunFolder:
    try:
        return resolve(runs, source, leave_out=lambda folder: _started_from(folder, source))
    except StoreError as error:
        raise RecipeError(f"init.from = {source}: expected a run or a .safetensors file: {error}") from error


def _started_from(folder: RunFolder, source: str) -> bool:
    """Whether a run's own recipe has the same words: a name means the run that was there first, not what came of it."""
    try:
        mapping: Any = yaml_text.load(folder.recipe.read_bytes(), str(folder.recipe))
        return bool(mapping["init"]["from"] == source)
    except (OSError, RecipeError, KeyError, TypeError):  # no recipe, or one from before `init`: it may be meant
        return False


def _from_file(path: Path, source: str) -> Mapping[str, Tensor]:
    if not path.is_file():
        raise RecipeError(f"init.from = {source}: there is no such file.")
    if path.suffix in (".pt", ".pth", ".bin", ".ckpt", ".pkl"):
        raise RecipeError(
            f"init.from = {source}: a pickle may run any code when it is loaded, and is not read. Convert it where you "
            "trust it: safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'weights.safetensors')."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError, MemoryError) as error:
        raise RecipeError(f"init.from = {source}: this is no complete safetensors file ({error}).") from error


def encoding_at(source: str, runs: Path) -> Mapping[str, Any]:
    """Return how the inputs of those weights were read, where that is known."""
    if _is_file(source):
        return _encoding_in(source)
    facts: Mapping[str, Any] = record.read(_run(source, runs)).get("data") or {}
    return facts.get("encoding") or {}


def _encoding_in(source: str) -> Mapping[str, Any]:
    """What `shoal export` wrote into a file; nothing where it was written by another program."""
    try:
        opened: Any = safe_open(expanded(source), "pt")
        with opened as file:
            said: Mapping[str, str] = file.metadata() or {}
        found: Any = json.loads(said.get("encoding", "{}"))
        return cast("Mapping[str, Any]", found) if isinstance(found, dict) else {}
    except (
        SafetensorError,
        OSError,
        ValueError,
        RecursionError,
    ):  # what is wrong with the file is said when it is loaded
        return {}
