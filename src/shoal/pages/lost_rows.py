"""What a page says of a history that is not all there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.pages import formats
from shoal.store import RunFolder, record
from shoal.store.journal import unreadable


def lost_rows(folder: RunFolder, known: Mapping[str, Any]) -> list[str]:
    """Return a sentence on lines that cannot be read, and one on each time that the file was found changed."""
    lines = unreadable(folder.history)
    unread = [f"{lines} of {folder.history.name} could not be read: left out."] if lines else []
    return unread + [formats.clean(one["said"]) for one in record.journals(known) if one["file"] == folder.history.name]
