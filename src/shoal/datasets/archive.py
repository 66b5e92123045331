"""Tar archives, plain or compressed, read member by member: nothing is ever extracted.

An archive is listed first, to its very end, so that a truncated or damaged one is refused before any of it is used,
and so is one with a member that has no business among data: a link, a device, a path that leads out of it.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from shoal.errors import DataError

DECOMPRESSORS: dict[bytes, Callable[[IO[bytes]], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""By the first bytes of a file; what begins otherwise is taken for a plain tar."""
BLOCK = 512
"""A tar is made of blocks of this many bytes, and ends with one of zeros."""
MOST_HEADER = 1 << 20
"""Bytes of the headers of one member, its name among them; more would be a bomb, for they are read as one."""
DAMAGES = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive: its name in it, its size, and where its bytes begin once decompressed."""

    name: str
    size: int
    offset: int


@dataclass(frozen=True)
class Listing:
    """What an archive holds, by name; a file that is there twice is the last one, as it would be once extracted."""

    files: dict[str, Member]
    folders: tuple[str, ...]


def listing(path: Path) -> Listing:
    """Return what a tar holds; raises DataError where it is damaged, or has more than files and folders in it."""
    files, folders, end = dict[str, Member](), dict[str, None](), 0
    with _opened(path) as stream:
        headers = _Headers(path, stream)
        with tarfile.open(fileobj=cast(IO[bytes], headers), mode="r:") as tar:
            for entry in tar:
                headers.left = MOST_HEADER
                name = _safe(path, entry)
                end = entry.offset_data + -(-entry.size // BLOCK) * BLOCK
                tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue]  else it keeps a kilobyte for each
                if entry.isdir():
                    folders[name] = None
                else:
                    files[name] = Member(name, entry.size, entry.offset_data)
        _check_end(path, stream, end)
    return Listing(files, tuple(folders))


def contents(path: Path, members: Iterable[Member]) -> Iterator[bytes]:
    """Yield the bytes of members of an archive; give them by ascending offset, or it is decompressed many times."""
    with _opened(path) as stream:
        for member in members:
            stream.seek(member.offset)
            found = stream.read(member.size)
            if len(found) < member.size:
                raise DataError(_damaged(path, "it changed while it was read"))
            yield found


class _Headers:
    """An archive as `tarfile` is to see it: headers alone are read through it, and only so much for each member."""

    def __init__(self, path: Path, stream: IO[bytes]) -> None:
        self.path, self.stream, self.left = path, stream, MOST_HEADER
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        """Read a part of a header."""
        self.left -= size
        if size < 0 or self.left < 0:
            raise DataError(_damaged(self.path, f"the header of a member has more than {MOST_HEADER:,} bytes"))
        return self.stream.read(size)


@contextmanager
def _opened(path: Path) -> Generator[IO[bytes]]:
    """Open the tar in a file; what is wrong with it becomes a DataError."""
    try:
        with path.open("rb") as file:
            head = file.read(6)
            file.seek(0)
            opener = next((known for magic, known in DECOMPRESSORS.items() if head.startswith(magic)), None)
            if opener is None:
                yield file
                return
            with opener(file) as stream:
                yield stream
    except tarfile.ReadError as error:
        if "unexpected end" in str(error):
            raise DataError(_damaged(path, "its end is missing")) from error
        raise DataError(f"{path}: no tar archive, or a damaged one ({error}): expected {EXPECTED}.") from error
    except DAMAGES as error:
        raise DataError(_damaged(path, str(error) or type(error).__name__)) from error
    except OSError as error:
        if error.errno is None:  # the decompressor's own: the disk's have a number
            raise DataError(_damaged(path, str(error))) from error
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error


EXPECTED = "a .tar, .tar.gz, .tar.xz or .tar.bz2"


def _damaged(path: Path, why: str) -> str:
    return f"{path}: the archive is truncated or damaged ({why}). Fetch it again."


def _safe(path: Path, entry: tarfile.TarInfo) -> str:
    """The name of a file or a folder inside the archive; raises DataError for anything else."""
    parts = [part for part in entry.name.split("/") if part not in ("", ".")]
    wrong = None
    if entry.name.startswith("/"):
        wrong = "an absolute path"
    elif ".." in parts:
        wrong = "a path that leads out of the archive"
    elif entry.issym() or entry.islnk():
        wrong = f"a link to {entry.linkname}"
    elif not (entry.isfile() or entry.isdir()):
        wrong = "neither a file nor a folder"
    elif entry.issparse():
        wrong = "a sparse file"
    if wrong is not None:
        raise DataError(
            f"{path}: {entry.name} is {wrong}: expected files and folders only, with paths inside the archive. "
            "Nothing was read or written; pack the archive again without it."
        )
    return "/".join(parts)


def _check_end(path: Path, stream: IO[bytes], end: int) -> None:
    """Read to the end, which checks what the compression checks; `tarfile` takes a damaged header for the end."""
    stream.seek(end)
    block: Any = stream.read(BLOCK)
    if len(block) < BLOCK:
        raise DataError(_damaged(path, "its end is missing"))
    if any(block):
        raise DataError(_damaged(path, f"what begins at byte {end:,} is no member"))
    while stream.read(1 << 20):
        pass
