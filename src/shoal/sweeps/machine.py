"""What this machine has for a sweep: cores, memory, GPUs; asked without torch."""

from __future__ import annotations

import os
from pathlib import Path

GPUS = Path("/proc/driver/nvidia/gpus")
MEMORY = Path("/proc/meminfo")
LIMITS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"), Path("/sys/fs/cgroup/memory/memory.usage_in_bytes")),
)
"""The limit of this container and what is used of it, in both versions of cgroups."""


def cores() -> list[int]:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def free_memory() -> int | None:
    """Return the bytes of memory that can still be taken, of the machine or of the container; None: not known."""
    free = [room for room in (_of_machine(), *map(_of_container, LIMITS)) if room is not None]
    return min(free) if free else None


def gpus() -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES would say of each GPU of NVIDIA's that this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name and name != "-1"]
    try:
        return [str(number) for number, _ in enumerate(sorted(GPUS.iterdir()))]
    except OSError:
        return []


def _of_machine() -> int | None:
    try:
        lines = dict(line.split(":", 1) for line in MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _of_container(files: tuple[Path, Path]) -> int | None:
    try:
        limit, used = (int(file.read_text()) for file in files)
        stat = dict(line.split() for line in files[1].with_name("memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # "max": there is no limit
        return None
    cached = int(stat.get("inactive_file", 0))  # of files, which makes room
    return max(0, limit - used + cached)
