"""Tar archives: what is in them, and what is refused before any of it is read."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from tests.datasets.pictures import tar_of

from shoal.datasets.archive import contents, listing
from shoal.errors import DataError

MODES = {"w": "a.tar", "w:gz": "a.tar.gz", "w:xz": "a.tar.xz", "w:bz2": "a.tar.bz2"}
FILES = {f"folder/{number:02}.txt": bytes([number]) * (number * 97) for number in range(40)}


def made(path: Path, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in FILES.items():
            member = tarfile.TarInfo(f"./{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname = kind, link
    return found


@pytest.mark.parametrize("mode", MODES)
def test_members_are_listed_and_read_in_every_compression(mode: str, tmp_path: Path) -> None:
    path = made(tmp_path / "whatever", mode)  # by its bytes, not by its name
    files = listing(path).files
    assert {name: found.size for name, found in files.items()} == {name: len(found) for name, found in FILES.items()}
    assert dict(zip(files, contents(path, files.values()), strict=True)) == FILES


def test_members_can_be_read_in_any_order(tmp_path: Path) -> None:
    path = made(tmp_path / "a.tar.xz", "w:xz")
    files = list(listing(path).files.values())[::-3]
    assert list(contents(path, files)) == [FILES[found.name] for found in files]


def test_folders_are_listed_also_those_that_are_empty(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [member("./", tarfile.DIRTYPE), member("a/b/", tarfile.DIRTYPE)])
    assert listing(path).folders == ("", "a/b")


def test_a_file_that_is_there_twice_is_the_last_one(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for content in (b"old", b"newer"):
            found = tarfile.TarInfo("x")
            found.size = len(content)
            tar.addfile(found, io.BytesIO(content))
    (only,) = listing(tmp_path / "a.tar").files.values()
    assert list(contents(tmp_path / "a.tar", [only])) == [b"newer"]


@pytest.mark.parametrize(
    ("strange", "why"),
    [
        (member("a/../../etc/x"), "a path that leads out of the archive"),
        (member("/etc/x"), "an absolute path"),
        (member("a/link", tarfile.SYMTYPE, "/etc/passwd"), "a link to /etc/passwd"),
        (member("a/link", tarfile.LNKTYPE, "a/x"), "a link to a/x"),
        (member("a/disk", tarfile.BLKTYPE), "neither a file nor a folder"),
        (member("a/tty", tarfile.CHRTYPE), "neither a file nor a folder"),
        (member("a/pipe", tarfile.FIFOTYPE), "neither a file nor a folder"),
        (member("a/odd", b"Z"), "neither a file nor a folder"),
    ],
    ids=lambda value: value.name if isinstance(value, tarfile.TarInfo) else "",
)
def test_what_has_no_business_among_data_is_refused(strange: tarfile.TarInfo, why: str, tmp_path: Path) -> None:
    path = tar_of(tmp_path / "a.tar", [member("a/x"), strange])
    with pytest.raises(DataError) as error:
        listing(path)
    assert f"{path}: {strange.name} is {why}: expected files and folders only" in str(error.value)
    assert [found.name for found in tmp_path.iterdir()] == ["a.tar"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9, 0.99])
def test_a_truncated_archive_is_refused_wherever_it_ends(mode: str, share: float, tmp_path: Path) -> None:
    path = made(tmp_path / "a", mode)
    whole = path.read_bytes()
    end = len(whole) if mode != "w" else whole.rindex(bytes([39])) + 1  # a plain tar is padded with zeros
    path.write_bytes(whole[: int(end * share)])
    with pytest.raises(DataError, match=r"/a: (the archive is truncated or damaged|no tar archive, or a damaged one) "):
        listing(path)


def test_a_plain_tar_that_ends_between_two_members_is_refused(tmp_path: Path) -> None:
    path = made(tmp_path / "a.tar")
    last = list(listing(path).files.values())[20]
    path.write_bytes(path.read_bytes()[: last.offset - 512])
    with pytest.raises(DataError, match=r"truncated or damaged \(its end is missing\)\. Fetch it again\."):
        listing(path)


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    path = made(tmp_path / "a.tar")
    last = list(listing(path).files.values())[20]
    damaged = bytearray(path.read_bytes())
    damaged[last.offset - 400] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"truncated or damaged \(what begins at byte [\d,]+ is no member\)"):
        listing(path)


@pytest.mark.parametrize("mode", ["w:gz", "w:xz", "w:bz2"])
def test_a_flipped_bit_is_found_by_the_compression(mode: str, tmp_path: Path) -> None:
    path = made(tmp_path / "a", mode)
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 0x10
    path.write_bytes(damaged)
    with pytest.raises(DataError, match=r"truncated or damaged|or a damaged one"):
        listing(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 a zip", b"\x1f\x8b no gzip", b"plain text " * 100])
def test_what_is_no_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(
        DataError, match=r"a\.zip: (no tar archive, or a damaged one .* expected a \.tar, \.tar\.gz|the archive is)"
    ):
        listing(tmp_path / "a.zip")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b\.tar: cannot be read: No such file"):
        listing(tmp_path / "b.tar")
