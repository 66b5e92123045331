"""Which device a recipe trains on, refused with what there is when it is not there."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

import torch

from shoal.errors import RecipeError, unknown


def choose(text: str) -> torch.device:
    """Return the device that `text` names; 'auto' takes CUDA, then MPS, then the CPU.

    Raises RecipeError for a name that is none, and for a device that this machine lacks.
    """
    kinds = _kinds()
    if text == "auto":
        return torch.device(next(kind for kind in ("cuda", "mps", "cpu") if kinds[kind]))
    kind, _, number = text.partition(":")
    if kind not in kinds or (number and not number.isdigit()):
        raise RecipeError(f"device = {text!r}: {unknown('device', text, ['auto', 'cpu', 'cuda', 'cuda:0', 'mps'])}")
    index = int(number) if number else 0
    if index >= kinds[kind]:
        there = [f"{name}:{i}" if name == "cuda" else name for name, count in kinds.items() for i in range(count)]
        raise RecipeError(
            f"device = {text!r}: this machine has {', '.join(there)}. Choose one of them, or device=auto."
        )
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


def _kinds() -> dict[str, int]:
    """How many devices of each kind there are."""
    cuda = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {"cpu": 1, "cuda": cuda, "mps": int(torch.backends.mps.is_available())}


@contextmanager
def determinism(wanted: bool) -> Generator[None]:
    """Allow only algorithms that give the same bits each time, where wanted; an operation that has none raises."""
    if not wanted:
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before, benchmark = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.backends.cudnn.benchmark = benchmark


@contextmanager
def gradients() -> Generator[None]:
    """Record gradients, even where the caller has switched them off."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield
