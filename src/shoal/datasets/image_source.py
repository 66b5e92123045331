"""Where pictures lie: a folder, or a tar that is read member by member. Both look the same from here on.

What a source *is* for the cache (`identity`) is cheap to tell and changes when its files do: paths, sizes, times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Protocol

from shoal.datasets import archive
from shoal.errors import DataError


class Source(Protocol):
    """Files by name, paths with slashes below `where`."""

    where: str

    @property
    def names(self) -> Sequence[str]:
        """The files."""
        ...

    @property
    def folders(self) -> Sequence[str]:
        """The folders, also those without files."""
        ...

    def identity(self) -> Iterator[str]:
        """Yield what this source is, for the name of a cache."""
        ...

    def size(self, name: str) -> int:
        """Return the bytes of a file."""
        ...

    def in_order(self, names: Sequence[str]) -> list[str]:
        """Return names in the order in which they are read fastest."""
        ...

    def read(self, names: Sequence[str]) -> Iterator[bytes]:
        """Yield the bytes of files, in the order given."""
        ...


def source_of(place: Path) -> Source:
    """Return the folder or archive at an existing place."""
    return FolderSource(place) if place.is_dir() else ArchiveSource(place)


class FolderSource:
    """A folder and all below it; links are followed, but never round in circles."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.where = folder, str(folder)
        self.folders: list[str] = []
        self._stats: dict[str, os.stat_result] = {}
        self._walk(str(folder), "", (os.path.realpath(folder),))
        self.names: list[str] = sorted(self._stats)

    def _walk(self, folder: str, prefix: str, above: tuple[str, ...]) -> None:
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    name = prefix + entry.name
                    if entry.is_file():
                        self._stats[name] = entry.stat()
                    elif entry.is_dir() and (real := os.path.realpath(entry.path)) not in above:
                        self.folders.append(name)
                        self._walk(entry.path, f"{name}/", (*above, real))
        except OSError as error:
            raise DataError(f"{folder}: cannot be read: {error.strerror}.") from error

    def identity(self) -> Iterator[str]:
        yield f"folder {os.path.realpath(self.folder)}"
        yield from sorted(self.folders)
        for name in self.names:
            yield f"{name} {self._stats[name].st_size} {self._stats[name].st_mtime_ns}"

    def size(self, name: str) -> int:
        return self._stats[name].st_size

    def in_order(self, names: Sequence[str]) -> list[str]:
        return list(names)

    def read(self, names: Sequence[str]) -> Iterator[bytes]:
        for name in names:
            try:
                yield (self.folder / name).read_bytes()
            except OSError as error:
                raise DataError(f"{self.folder / name}: cannot be read: {error.strerror}.") from error


class ArchiveSource:
    """A tar, plain or compressed; it is listed when it is first asked what is in it."""

    def __init__(self, path: Path) -> None:
        self.path, self.where = path, str(path)

    @cached_property
    def _listing(self) -> archive.Listing:
        return archive.listing(self.path)

    @property
    def names(self) -> Sequence[str]:
        return sorted(self._listing.files)

    @property
    def folders(self) -> Sequence[str]:
        return self._listing.folders

    def identity(self) -> Iterator[str]:
        stat = self.path.stat()
        yield f"archive {os.path.realpath(self.path)} {stat.st_size} {stat.st_mtime_ns}"

    def size(self, name: str) -> int:
        return self._listing.files[name].size

    def in_order(self, names: Sequence[str]) -> list[str]:
        return sorted(names, key=lambda name: self._listing.files[name].offset)

    def read(self, names: Sequence[str]) -> Iterator[bytes]:
        return archive.contents(self.path, [self._listing.files[name] for name in names])
