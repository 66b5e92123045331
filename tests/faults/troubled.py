"""A dataset of points that is in trouble once, where the variable TROUBLE says so: "INDEX FLAG WHAT [SIGNAL]".

When the example INDEX is read and there is no file FLAG, the file is made and the reader
    asks       sends SIGNAL to the training, and hangs
    group      sends SIGNAL to the whole session, and goes on
    dies       is killed
    hangs      waits for ever, whatever is raised in it
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset, get_worker_info

import shoal

TRAIN = 192


class Points(Dataset[Any]):
    classes = 2

    def __init__(self, first: int, count: int) -> None:
        self.first, self.count = first, count
        self.digest = f"points {first} {count}"

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Any:
        number = self.first + index
        where, _, trouble = os.environ.get("TROUBLE", "-1 ").partition(" ")
        if number == int(where):
            in_trouble(*trouble.split())
        x = torch.randn(8, generator=torch.Generator().manual_seed(number))
        return x, int(x[0] * x[1] > 0)


def in_trouble(flag: str, what: str, number: str = "0") -> None:
    if Path(flag).exists():
        return
    Path(flag).touch()
    if what == "dies":
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "group":
        os.killpg(os.getpgrp(), int(number))
    if what == "asks":
        os.kill(os.getpid() if get_worker_info() is None else os.getppid(), int(number))
    while what in ("asks", "hangs"):
        try:
            time.sleep(600)
        except BaseException:
            if what == "asks":
                raise


@shoal.dataset("troubled")
def troubled() -> dict[str, Points]:
    return {"train": Points(0, TRAIN), "valid": Points(1000, 32), "test": Points(2000, 32)}
