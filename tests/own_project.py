"""A module of a user's own, `own_project`, that its author edits between trainings of one process."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from shoal.assembly.registry import OWN
from shoal.recipe.tables import TABLES

NAME = "own_project"
MODEL = """
import torch
from torch import nn
import shoal

@shoal.model("tiny")
class Tiny(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int, hidden: int = 4) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(64, hidden), nn.ReLU(), nn.Linear(hidden, outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)
"""


class Project:
    """The module; `--module own_project` finds it in the working directory."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / f"{NAME}.py"
        self.write(MODEL)

    def write(self, text: str) -> None:
        """Write the module and import it anew, as a new process would."""
        self.file.write_text(text)
        self.forget()
        sys.path.insert(0, str(self.file.parent))
        bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it is told from its source by the second
        try:
            importlib.invalidate_caches()
            importlib.import_module(NAME)
        finally:
            sys.dont_write_bytecode = bytecode
            sys.path.remove(str(self.file.parent))

    def edit(self, old: str, new: str) -> None:
        """Replace a piece of the module."""
        text = self.file.read_text()
        assert old in text
        self.write(text.replace(old, new))

    def forget(self) -> None:
        """Let nothing of the module be registered."""
        sys.modules.pop(NAME, None)
        for kind, name in [key for key, own in OWN.items() if own.factory.__module__ == NAME]:
            del OWN[kind, name]
            TABLES[kind].pop(name, None)
