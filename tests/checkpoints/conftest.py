"""A folder with two good checkpoints, of steps 10 and 20."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from shoal.checkpoints import save


def state(step: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(step)
    return {"weights": {"layer.weight": torch.randn(40, 50, generator=generator)}, "steps": step, "note": None}


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoints"
    for step in (10, 20):
        save(
            folder,
            step,
            {"engine": state(step), "callbacks": {"best": {"value": step / 3}}},
            {"position": [0, 0, step]},
        )
    return folder
