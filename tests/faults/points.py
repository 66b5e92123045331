"""A Dataset of sixty points that go wrong on request, and trainings on it that take a second."""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

import shoal

BAD, TRAIN, VALID = 37, 60, 40
"""The example that something is the matter with, and the examples of both splits."""
SPARE = 64 << 20
"""Bytes that a process may still take once its memory is limited."""
WORDS: dict[str, Any] = {
    "batch_size": 8, "budget.epochs": 3, "checkpoint.every": 0.5, "model.width": 8, "execution": "eager",
    "optimizer.lr": 0.05,
}  # fmt: skip


class Points(Dataset):
    """Points with noise from the global generators. What happens at BAD is told by the files of a folder.

    With `broken` it can never be read, with `odd` its label is none of the two; `once` says what happens when it is
    read for the second time to be trained on.
    """

    classes = 2

    def __init__(self, folder: Path, total: int) -> None:
        self.folder, self.total = folder, total
        self.digest = f"{total} points"

    def __len__(self) -> int:
        return self.total

    def __getitem__(self, index: int) -> Any:
        if index == BAD:
            self.fault(index)
        if (self.folder / "slow").exists():
            time.sleep(0.01)
        values = np.random.default_rng(index).normal(size=4) + 0.1 * np.random.random(4)
        odd = index == BAD and (self.folder / "odd").exists()
        return torch.from_numpy(values).float() + 0.1 * torch.rand(4), 2 if odd else int(values[0] > 0)

    def fault(self, index: int) -> None:
        if (self.folder / "broken").exists():
            raise ValueError("no such point")
        kind = self.folder / "once"
        if self.total < TRAIN or not kind.exists():
            return
        if kind.with_name("read").exists():
            kind.rename(kind.with_name("happened"))  # once only
            happen(kind.with_name("happened").read_text())
        kind.with_name("read").touch()


def happen(kind: str) -> None:
    """Let something go wrong in this process."""
    in_worker = multiprocessing.parent_process() is not None
    if kind == "raises":
        raise OSError("the disk went away")
    if kind == "exits":
        os._exit(3)
    if kind == "hangs":
        time.sleep(600)
    if kind == "memory":
        assert in_worker
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + SPARE, size + SPARE))
        np.zeros(SPARE)  # eight bytes each
    if kind == "killed":
        os.kill(os.getpid(), signal.SIGKILL)


@shoal.dataset("points")
def points(path: str) -> Any:
    """Sixty points to train on and forty to evaluate on, both with the faults of a folder."""
    return {"train": Points(Path(path), TRAIN), "valid": Points(Path(path), VALID)}


def train(folder: Path, **keys: Any) -> shoal.Run:
    """Train on the points of a folder; the runs are in it too."""
    words = {**WORDS, "dataset.path": str(folder), **{key.replace("__", "."): value for key, value in keys.items()}}
    return shoal.train("table_mlp", words, dataset="points", runs=folder / "runs", quiet=True)
