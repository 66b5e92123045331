"""A folder and a tar of it look the same; what they are changes when their files do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from tests.datasets.pictures import class_folders, packed

from shoal.datasets.image_source import source_of
from shoal.errors import DataError


def test_a_folder_and_its_archive_hold_the_same(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pets")
    (folder / "empty").mkdir()
    found = source_of(folder), source_of(packed(tmp_path / "pets.tar", folder))
    for source in found:
        assert len(source.names) == 8
        assert sorted(source.folders) == ["cat", "dog", "empty"]
        names = source.in_order(source.names)
        contents = dict(zip(names, source.read(names), strict=True))
        assert contents == {name: (folder / name).read_bytes() for name in source.names}
        assert [source.size(name) for name in source.names] == [len(contents[name]) for name in source.names]
    assert list(found[0].names) == list(found[1].names)


def test_links_are_followed_but_not_round_in_circles(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pets")
    (folder / "emu").symlink_to(folder / "cat")
    (folder / "cat" / "loop").symlink_to(folder)
    assert "emu/0.png" in source_of(folder).names
    assert not any("loop" in name for name in source_of(folder).names)


@pytest.mark.parametrize("packing", [False, True])
def test_what_a_source_is_changes_with_its_files(packing: bool, tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pets")
    place = packed(tmp_path / "pets.tar", folder) if packing else folder
    file = place if packing else folder / "cat" / "0.png"
    before = list(source_of(place).identity())
    assert list(source_of(place).identity()) == before
    os.utime(file, ns=(1, 1))
    touched = list(source_of(place).identity())
    assert touched != before
    file.write_bytes(file.read_bytes() + b"\0")
    os.utime(file, ns=(1, 1))
    assert list(source_of(place).identity()) not in (before, touched)


def test_a_file_that_vanished_is_named(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pets")
    source = source_of(folder)
    (folder / "cat" / "0.png").unlink()
    with pytest.raises(DataError, match=r"cat/0\.png: cannot be read: No such file"):
        list(source.read(["cat/0.png"]))
