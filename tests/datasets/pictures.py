"""Folders and archives of small pictures, made for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def pixels(seed: int, *, side: int = 6, channels: int = 3) -> np.ndarray:
    """Return a picture [H, W, C], or [H, W] where it is grey, that is a function of `seed`."""
    shape = (side, side, channels) if channels > 1 else (side, side)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(array: np.ndarray, form: str = "PNG", **options: object) -> bytes:
    """Return a picture as the bytes of a file."""
    file = io.BytesIO()
    Image.fromarray(array).save(file, form, **options)
    return file.getvalue()


def class_folders(
    top: Path, *, classes: Iterable[str] = ("cat", "dog"), count: int = 4, side: int = 6, seed: int = 0
) -> Path:
    """Fill a folder with `count` PNG files a class; their pictures are those of `pixels`, one seed after another."""
    for kind in classes:
        (top / kind).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (top / kind / f"{number}.png").write_bytes(encoded(pixels(seed, side=side)))
            seed += 1
    return top


def packed(archive: Path, folder: Path, mode: str = "w", *, under: str = "") -> Path:
    """Pack what is in a folder into a tar, in reverse order, below `under`."""
    with tarfile.open(archive, mode) as tar:
        for path in sorted(folder.rglob("*"), reverse=True):
            tar.add(path, arcname=f"{under}{path.relative_to(folder).as_posix()}", recursive=False)
    return archive


def tar_of(archive: Path, members: Iterable[tarfile.TarInfo], contents: Mapping[str, bytes] | None = None) -> Path:
    """Write a tar of members as they are, however strange."""
    with tarfile.open(archive, "w") as tar:
        for member in members:
            content = (contents or {}).get(member.name, b"")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive
