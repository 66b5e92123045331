"""Measurements of executions, kept for this machine: an experiment is measured once, whatever its seeds and folders.

So every seed of an experiment runs under one plan, and a recipe started elsewhere on this machine does too. They are a
cache, one small file an experiment, in `plans` of the cache folder; without it they are made again.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from shoal.datasets.kept import cache_folder
from shoal.files import to_json, write_atomic
from shoal.training.execution import Measured

VERSION = 1


def remembered(signature: str, device: torch.device) -> Measured | None:
    """Return what was measured for an experiment on this machine, with these threads and this torch."""
    try:
        plain: dict[str, Any] = json.loads(_file(signature, device).read_text())
        return Measured(**plain)
    except (OSError, ValueError, TypeError):
        return None


def remember(signature: str, device: torch.device, measured: Measured) -> None:
    """Keep what was measured; a cache that cannot be written is done without."""
    file = _file(signature, device)
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, to_json(measured.plain()))


def _file(signature: str, device: torch.device) -> Path:
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} {os.cpu_count()}"
    threads = os.environ.get("OMP_NUM_THREADS", "")
    facts = [VERSION, signature, str(device), machine, platform.node(), threads, str(torch.__version__)]
    return cache_folder() / "plans" / f"{sha256(repr(facts).encode()).hexdigest()[:32]}.json"
