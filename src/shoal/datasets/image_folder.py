"""Pictures in class folders, or in a tar of them: decoded once, kept as bytes, mapped into memory from then on."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from shoal.datasets.examples import Data, picture_encoding
from shoal.datasets.image_layout import EXPECTED, layout
from shoal.datasets.image_pixels import Wanted, mapped, write_pixels
from shoal.datasets.image_source import Source, source_of
from shoal.datasets.kept import Kept, kept, key_of
from shoal.datasets.places import existing
from shoal.datasets.prepare import prepare
from shoal.recipe import parts
from shoal.recipe.parts import DatasetPart

FORMAT = 1
"""Of what is kept; a higher one leaves what an older Shoal kept alone."""


def build(part: DatasetPart) -> Data:
    """Return the pictures at `part.path`; raises DataError for what cannot be trained on."""
    assert isinstance(part, parts.ImageFolder)
    source = source_of(existing(part.path, EXPECTED))
    wanted = Wanted(part.size, part.channels, part.broken == "skip")
    asked = {"format": FORMAT, "size": part.size, "channels": part.channels, "broken": part.broken}
    found = kept("images", key_of(asked, source.identity()), partial(_write, source=source, wanted=wanted, asked=asked))
    return prepare(
        mapped(found.path, found.facts),
        part,
        notes=_notes(found),
        labels=found.facts["classes"],
        encoding=picture_encoding(found.facts["shape"]),
    )


def _write(folder: Path, *, source: Source, wanted: Wanted, asked: Mapping[str, Any]) -> dict[str, Any]:
    from PIL import __version__ as pillow  # noqa: PLC0415  start-up time

    found = layout(source.where, source.names, source.folders)
    written = write_pixels(folder, source, found, wanted)
    made = {"source": source.where, "asked": asked, "pillow": pillow}
    return {**made, "classes": list(found.classes), "notes": list(found.notes), **written}


def _notes(found: Kept) -> list[str]:
    _, height, width = found.facts["shape"]
    total = sum(found.facts["counts"].values())
    notes = [f"pictures: {total:,} of {width}x{height} pixels, decoded once and kept in {found.path}"]
    if broken := found.facts["broken"]:
        names = ", ".join(found.facts["broken_names"])
        more = ", ..." if broken > len(found.facts["broken_names"]) else ""
        notes.append(f"left out: {broken:,} broken picture{'s' * (broken != 1)} ({names}{more})")
    return [*found.notes, *found.facts["notes"], *notes]
