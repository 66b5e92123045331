"""What a process that trains many runs keeps from one to the next: data, and what it knows of its own source.

The source is looked at once: what the process has imported does not change when a file does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from shoal.assembly.explain import Known
from shoal.assembly.shelf import Shelf
from shoal.store.provenance import code_patch, collect


@dataclass(frozen=True)
class Warm:
    """The surroundings of the runs of one process."""

    runs: Path
    command: Sequence[str] = field(default_factory=lambda: tuple(sys.argv))
    """The words with which the runs were asked for."""
    shelf: Shelf = field(default_factory=Shelf)

    @cached_property
    def known(self) -> Known:
        """The runs that were there when the first of these began."""
        return Known(self.runs)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """Machine, versions, command and commit."""
        return collect(self.command, Path.cwd())

    @cached_property
    def patch(self) -> bytes | None:
        """The change that is not committed."""
        return code_patch(Path.cwd(), exclude=[self.runs])
