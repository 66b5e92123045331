"""The place that `dataset.path` names, and what is said where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal.datasets.places import existing
from shoal.errors import DataError


def test_a_place_that_is_there_is_returned(tmp_path: Path) -> None:
    assert existing(str(tmp_path), "a folder") == tmp_path


def test_a_path_that_is_not_set_is_asked_for() -> None:
    with pytest.raises(
        DataError, match=r"dataset\.path is not set: expected a folder\. Say where .*dataset\.path=PATH"
    ):
        existing(None, "a folder")


def test_the_nearest_name_beside_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "cifar10-jpeg.tar.xz").touch()
    with pytest.raises(DataError, match=r"does not exist: did you mean .*/cifar10-jpeg\.tar\.xz\?; expected a tar\."):
        existing(str(tmp_path / "cifar10-jpg.tar.xz"), "a tar")


def test_a_misspelled_folder_on_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    with pytest.raises(DataError, match=r"did you mean .*/shared\?"):
        existing(str(tmp_path / "sharde" / "data" / "pets"), "a folder")


def test_where_nothing_is_near_the_first_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist, and neither does .*/aaaa; expected a folder\."):
        existing(str(tmp_path / "aaaa" / "pets"), "a folder")
    with pytest.raises(DataError, match=r"zzzz': it does not exist; expected a folder\."):
        existing(str(tmp_path / "zzzz"), "a folder")


def test_a_file_on_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "pets").touch()
    with pytest.raises(DataError, match=r"does not exist, for .*/pets is a file;"):
        existing(str(tmp_path / "pets" / "cats"), "a folder")
