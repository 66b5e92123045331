"""From names to classes and splits: every layout that is read, and the message for those that are not."""

from __future__ import annotations

import pytest

from shoal.datasets.image_layout import layout
from shoal.errors import DataError

TWO = ["cat/1.jpg", "cat/2.PNG", "dog/1.webp"]


def laid(*files: str, folders: tuple[str, ...] = ()):
    return layout("pets", files, folders)


def under(folder: str, files: list[str] = TWO) -> list[str]:
    return [f"{folder}/{name}" for name in files]


def test_class_folders_are_all_train_by_class_and_name() -> None:
    found = laid("dog/1.webp", "cat/2.PNG", "cat/1.jpg")
    assert found.classes == ("cat", "dog")
    assert found.splits == {"train": [("cat/1.jpg", 0), ("cat/2.PNG", 0), ("dog/1.webp", 1)]}
    assert found.notes == ()


@pytest.mark.parametrize("valid", ["valid", "val", "validation", "Val"])
def test_folders_of_splits_hold_class_folders(valid: str) -> None:
    found = laid(*under("train"), *under(valid), *under("test"))
    assert set(found.splits) == {"train", "valid", "test"}
    assert found.splits["valid"] == [(f"{valid}/{name}", label) for name, label in zip(TWO, (0, 0, 1), strict=True)]


@pytest.mark.parametrize("top", ["pets", "a/b/c"])
def test_a_folder_above_is_looked_through(top: str) -> None:
    assert laid(*under(top)).splits == {"train": [(f"{top}/{n}", int("dog" in n)) for n in TWO]}
    assert set(laid(*under(f"{top}/train"), *under(f"{top}/test")).splits) == {"train", "test"}


def test_train_alone_is_a_split_and_no_class() -> None:
    assert laid(*under("train")).classes == ("cat", "dog")


def test_a_class_may_be_called_as_a_split_is() -> None:
    assert laid("bus/1.jpg", "car/1.jpg", "train/1.jpg").classes == ("bus", "car", "train")


def test_pictures_may_lie_deeper_in_a_class() -> None:
    assert laid("cat/images/1.jpg", "dog/a/b/1.jpg").splits["train"] == [("cat/images/1.jpg", 0), ("dog/a/b/1.jpg", 1)]


def test_a_split_may_lack_a_class() -> None:
    assert laid(*under("train"), "test/dog/1.jpg").splits["test"] == [("test/dog/1.jpg", 1)]


def test_hidden_files_are_not_seen_and_others_are_counted() -> None:
    found = laid(*TWO, "cat/._1.jpg", ".DS_Store", "__MACOSX/cat/1.jpg", "README.txt", "cat/jpg", "loose.jpg")
    assert found.splits == laid(*TWO).splits
    assert found.notes == ("left out: 3 files that are no picture of a class",)


def test_folders_beside_train_that_are_no_split_are_left_out_by_name() -> None:
    found = laid(*under("train"), *under("unlabelled"))
    assert set(found.splits) == {"train"}
    assert found.notes[1] == "folders left out: unlabelled"


@pytest.mark.parametrize(
    ("files", "folders", "message"),
    [
        ([], (), r"pets: there is no class folder in it: expected a folder with one folder of pictures a class"),
        (["1.jpg", "2.jpg"], (), r"pets: there is no class folder in it"),
        (["train/1.jpg", "test/1.jpg"], (), r"pets: train: there is no class folder in it"),
        (["cat/1.jpg"], (), r"pets: there is one class only, cat: with nothing to tell it from"),
        (under("train", ["cat/1.jpg"]), (), r"pets: train: there is one class only, cat"),
        (
            TWO,
            ("emu",),
            r"pets: emu: the class is empty: expected pictures in it \(\.bmp, .*Fill the folder, or remove",
        ),
        ([*TWO, "emu/1.txt"], (), r"pets: emu: the class is empty"),
        ([*under("train"), *under("test")], ("test/cat/x", "train/emu"), r"pets: train/emu: the class is empty"),
        ([*under("train"), "test/catt/1.jpg"], (), r"pets: test/catt: there is no such class in train: .* mean cat\?"),
        (under("test"), ("val",), r"pets: there is no train folder beside test, val: expected"),
        ([*under("train"), *under("val"), *under("valid")], (), r"pets: val and valid both mean valid\. Keep one"),
        ([*under("train"), *under("tests")], (), r"the folder tests is beside train: did you mean test\? Rename it"),
        ([*TWO, "e\nmu/1.jpg"], (), r"the class folder 'e\\nmu' has a name that cannot be printed\. Rename it"),
    ],
)
def test_what_cannot_be_classed_is_refused(files: list[str], folders: tuple[str, ...], message: str) -> None:
    with pytest.raises(DataError, match=message):
        laid(*files, folders=folders)
