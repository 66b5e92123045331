"""Measurements of executions, kept for this machine: an experiment is measured once, whatever its seeds and folders.

So every seed of an experiment runs under one plan, and a recipe started elsewhere on this machine does too. They are a
cache, one small file an experiment, in `plans` of the cache folder; without it they are made again. A file is of one
machine, its processor, threads, versions of torch and of Shoal, and way to compute.
"""

from __future__ import annotations

import json
import os
import platform
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from shoal.datasets.kept import cache_folder
from shoal.files import to_json, write_atomic
from shoal.training.compiled import no_compiler
from shoal.training.execution import Measured

VERSION = 2


def remembered(signature: str, device: torch.device, *, threads: int, channels_last: bool = False) -> Measured | None:
    """Return what was measured for an experiment on this machine, with so many threads to use and this torch.

    A file that is damaged is as one that is not there.
    """
    try:
        plain: Any = json.loads(_file(signature, device, threads, channels_last).read_text())
        return Measured.of(dict(plain))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):  # RuntimeError: there is no home folder
        return None


def remember(
    signature: str, device: torch.device, measured: Measured, *, threads: int, channels_last: bool = False
) -> None:
    """Keep what was measured and taken; a cache that cannot be written is done without.

    That a step cannot be captured is not kept: the code that it runs, or the memory that is free, may be other the next
    time. Nor is that there is no compiler, with the choice that was made without one.
    """
    if measured.refused is not None:
        return
    if measured.not_compiled is not None and measured.not_compiled == no_compiler():
        measured = replace(measured, not_compiled=None, taken=None, steps=0)
    with suppress(OSError, RuntimeError):
        file = _file(signature, device, threads, channels_last)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, to_json(measured.plain()))


def _file(signature: str, device: torch.device, threads: int, channels_last: bool) -> Path:
    machine = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{platform.machine()} {os.cpu_count()}"
    computed = channels_last, torch.are_deterministic_algorithms_enabled()
    versions = str(torch.__version__), _version()
    facts = [VERSION, signature, str(device), machine, processor(), platform.node(), threads, computed, versions]
    return cache_folder() / "plans" / f"{sha256(repr(facts).encode()).hexdigest()[:32]}.json"


@lru_cache(maxsize=1)
def processor() -> str:
    """Return the name of this machine's processor, as far as it says one."""
    with suppress(OSError, UnicodeDecodeError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _version() -> str:
    try:
        return version("shoal")
    except PackageNotFoundError:  # it is used from where it lies, not installed
        return ""
