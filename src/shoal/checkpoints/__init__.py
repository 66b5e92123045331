"""Checkpoints: whole folders, renamed into place, checked before they are trusted.

Not for exported weights. A checkpoint that this room loads is bit for bit one that it saved.
"""

from shoal.checkpoints.load import Loaded, damage, load, newest
from shoal.checkpoints.plain import plain
from shoal.checkpoints.retain import prune, set_aside, sweep
from shoal.checkpoints.save import FORMAT, folder_name, save

__all__ = [
    "FORMAT",
    "Loaded",
    "damage",
    "folder_name",
    "load",
    "newest",
    "plain",
    "prune",
    "save",
    "set_aside",
    "sweep",
]
