"""Measurements of executions, kept for this machine: an experiment is measured once, whatever its seeds and folders.

So every seed of an experiment runs under one plan, and a recipe started elsewhere on this machine does too. They are a
cache, one small file an experiment, in `plans` of the cache folder; without it they are made again.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from shoal.datasets.kept import cache_folder
from shoal.files import to_json, write_atomic
from shoal.training.compiled import no_compiler
from shoal.training.execution import Measured

VERSION = 1


def remembered(signature: str, device: torch.device, *, threads: int) -> Measured | None:
    """Return what was measured for an experiment on this machine, with so many threads to use and this torch.

    A file that is damaged is as one that is not there.
    """
    try:
        plain: dict[str, Any] = json.loads(_file(signature, device, threads).read_text())
        return Measured.of(plain)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # RuntimeError: there is no home folder
        return None


def remember(signature: str, device: torch.device, measured: Measured, *, threads: int) -> None:
    """Keep what was measured; a cache that cannot be written is done without.

    That there is no compiler is not kept: there may be one the next time.
    """
    if measured.not_compiled == no_compiler():
        measured = replace(measured, not_compiled=None)
    with suppress(OSError, RuntimeError):
        file = _file(signature, device, threads)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, to_json(measured.plain()))


def _file(signature: str, device: torch.device, threads: int) -> Path:
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} {os.cpu_count()}"
    facts = [VERSION, signature, str(device), machine, platform.node(), threads, str(torch.__version__)]
    return cache_folder() / "plans" / f"{sha256(repr(facts).encode()).hexdigest()[:32]}.json"
