"""Checkpoints: whole folders, renamed into place, checked before they are trusted.

Not for exported weights. A checkpoint that this room loads is bit for bit one that it saved.
"""

from shoal.checkpoints.load import Loaded, load, newest
from shoal.checkpoints.plain import plain, size_of
from shoal.checkpoints.retain import drop, prune, set_aside, sweep
from shoal.checkpoints.save import save
from shoal.checkpoints.writer import Writer
from shoal.store.checkpoint_files import FORMAT, damage, folder_name

__all__ = [
    "FORMAT",
    "Loaded",
    "Writer",
    "damage",
    "drop",
    "folder_name",
    "load",
    "newest",
    "plain",
    "prune",
    "save",
    "set_aside",
    "size_of",
    "sweep",
]
