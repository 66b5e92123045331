"""A model whose training kills its process, after the trial save: as a machine without memory does.

With the variable DIES_AT it kills the process that builds it for the DIES_AT-th time, counted in a file.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from torch import Tensor, nn

import shoal


class Dying(nn.Module):
    def __init__(self, features: int, outputs: int, *, dies: bool) -> None:
        super().__init__()
        self.layer = nn.Linear(features, outputs)
        self.steps, self.dies = 0, dies

    def forward(self, x: Tensor) -> Tensor:
        self.steps += self.training
        if self.dies and self.steps > 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.layer(x.flatten(1))


@shoal.model("dying")
def dying(input_shape: tuple[int, ...], outputs: int, *, dies: bool = False) -> nn.Module:
    _count_building()
    features = 1
    for size in input_shape:
        features *= size
    return Dying(features, outputs, dies=dies)


def _count_building() -> None:
    if "DIES_AT" not in os.environ:
        return
    which, file = os.environ["DIES_AT"].split(" ")
    with Path(file).open("a") as counted:
        counted.write(".")
    if Path(file).stat().st_size == int(which):
        os.kill(os.getpid(), signal.SIGKILL)
