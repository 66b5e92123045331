"""How much of what a file claims can be believed: no more than this process could hold in memory."""

from __future__ import annotations

import os
import resource
from pathlib import Path

from shoal.errors import DataError


def memory_bytes() -> int:
    """Return the memory of this machine, or what this process may still take of it where that is less."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    return installed if allowed == resource.RLIM_INFINITY else max(0, min(installed, allowed - _taken()))


def _taken() -> int:
    """The address space that this process has; 0 where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def check_claim(claimed: int, where: object) -> None:
    """Raise DataError for a file that claims more bytes than there is memory, before any of them is read."""
    most = memory_bytes()
    if claimed > most:
        raise DataError(
            f"{where}: it claims {claimed / 1e9:,.1f} GB of values, and there are {most / 1e9:,.1f} GB of memory: "
            "damaged, or made to fill it. Nothing of it was read."
        )
