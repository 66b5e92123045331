"""Pixels on disk: what is decoded goes to its own place, whoever decodes it and in whatever order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.datasets.pictures import class_folders, encoded, packed, pixels

from shoal.datasets import image_pixels, kept
from shoal.datasets.image_layout import layout
from shoal.datasets.image_pixels import Wanted, mapped, write_pixels
from shoal.datasets.image_source import source_of
from shoal.errors import DataError

AS_THEY_ARE = Wanted(None, 3, skip_broken=False)
SKIPPING = Wanted(None, 3, skip_broken=True)


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "pets", count=20)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def written(out: Path, place: Path, wanted: Wanted = AS_THEY_ARE):
    source = source_of(place)
    facts = write_pixels(out, source, layout(source.where, source.names, source.folders), wanted)
    return mapped(out, facts), facts


def expected(pets: Path) -> np.ndarray:
    seeds = [int(path.stem) + 20 * (path.parent.name == "dog") for path in sorted(pets.rglob("*.png"))]
    return np.stack([pixels(seed).transpose(2, 0, 1) for seed in seeds])


@pytest.mark.parametrize("packing", [False, True])
@pytest.mark.parametrize("threaded", [False, True])
def test_every_picture_is_in_its_place(
    packing: bool, threaded: bool, pets: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_pixels, "THREADED_BYTES", 0 if threaded else 1 << 40)
    monkeypatch.setattr(image_pixels, "_cores", lambda: 3)
    pairs, facts = written(out, packed(tmp_path / "pets.tar.gz", pets, "w:gz") if packing else pets)
    inputs, labels = pairs["train"]
    assert (inputs.dtype, inputs.shape, labels.dtype) == (np.uint8, (40, 3, 6, 6), np.int64)
    assert np.array_equal(inputs, expected(pets))
    assert labels.tolist() == [0] * 20 + [1] * 20
    assert facts == {"shape": [3, 6, 6], "counts": {"train": 40}, "broken": 0, "broken_names": []}


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("lost", [["cat/0.png"], ["cat/19.png", "cat/3.png", "dog/19.png"]])
def test_broken_pictures_leave_no_gap(
    threaded: bool, lost: list[str], pets: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_pixels, "THREADED_BYTES", 0 if threaded else 1 << 40)
    rows = [i for i, path in enumerate(sorted(pets.rglob("*.png"))) if path.relative_to(pets).as_posix() not in lost]
    whole = expected(pets)
    for name in lost:
        (pets / name).write_bytes(b"broken")
    pairs, facts = written(out, pets, SKIPPING)
    inputs, labels = pairs["train"]
    assert np.array_equal(inputs, whole[rows])
    assert np.array_equal(labels, np.repeat([0, 1], 20)[rows])
    assert (facts["broken"], facts["broken_names"]) == (len(lost), sorted(lost))
    assert (out / "train.pixels").stat().st_size == inputs.nbytes


@pytest.mark.parametrize("threaded", [False, True])
def test_a_broken_picture_stops_it_all(threaded: bool, pets: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_pixels, "THREADED_BYTES", 0 if threaded else 1 << 40)
    (pets / "dog" / "7.png").write_bytes(encoded(pixels(0))[:60])
    message = r"pets: dog/7\.png: a broken picture \(.*\)\. Mend or remove it; or leave such out: dataset\.broken=skip"
    with pytest.raises(DataError, match=message):
        written(out, pets)


def test_a_class_without_a_sound_picture_is_refused(pets: Path, out: Path) -> None:
    for path in (pets / "dog").iterdir():
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"train: all pictures of the class dog are broken: expected one that can be"):
        written(out, pets, SKIPPING)


def test_a_folder_of_nothing_but_broken_pictures_is_refused(pets: Path, out: Path) -> None:
    for path in pets.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(DataError, match=r"pets: all 40 pictures are broken\. Are they pictures at all\?"):
        written(out, pets, SKIPPING)


def test_pictures_of_several_sizes_need_a_size(pets: Path, out: Path) -> None:
    (pets / "dog" / "7.png").write_bytes(encoded(pixels(0, side=9)[:, :5]))
    message = r"pets: dog/7\.png has 5x9 pixels and cat/0\.png has 6x6: expected one size\. .* dataset\.size=6\."
    with pytest.raises(DataError, match=message):
        written(out, pets)
    with pytest.raises(DataError, match="expected one size"):
        written(out, pets, SKIPPING)
    pairs, _ = written(out, pets, Wanted(6, 1, skip_broken=False))
    assert pairs["train"][0].shape == (40, 1, 6, 6)


def test_a_disk_that_is_too_small_is_found_before_anything_is_written(
    pets: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = kept.shutil.disk_usage(out)
    monkeypatch.setattr(kept.shutil, "disk_usage", lambda folder: usage._replace(free=1_000))
    with pytest.raises(DataError, match=r"needs 4\.6 kB and its disk has 1\.0 kB free"):
        written(out, pets)
    assert list(out.iterdir()) == []


def test_what_is_mapped_is_not_read_and_cannot_change_the_file(pets: Path, out: Path) -> None:
    pairs, _ = written(out, pets)
    inputs, _ = pairs["train"]
    assert isinstance(inputs, np.memmap)
    before = (out / "train.pixels").read_bytes()
    inputs[:] = 0
    inputs.flush()
    assert (out / "train.pixels").read_bytes() == before
