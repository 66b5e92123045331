"""What the files that TensorBoard reads are called, so that nothing is taken away that is not ours."""

from __future__ import annotations

from pathlib import Path

EVENTS = "events.out.tfevents"
SUFFIX = ".shoal"
"""How the names of our event files end."""
PROJECTOR_CONFIG = "projector_config.pbtxt"
PROJECTOR = "projector"


def event_files(target: Path) -> list[Path]:
    """Return the event files in a folder that are ours."""
    return sorted(target.glob(f"{EVENTS}.*{SUFFIX}"))


def board_files(target: Path) -> list[Path]:
    """Return all of a board that is in a folder: event files, and what the projector reads."""
    others = [target / PROJECTOR_CONFIG, target / PROJECTOR]
    return [*event_files(target), *(path for path in others if path.exists())]
