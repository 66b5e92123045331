"""Pictures as data: decoded once, mapped from then on, the same from a folder and from an archive of it."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.datasets.pictures import class_folders, encoded, packed, pixels, tar_of

from shoal.assembly import Screen, conduct
from shoal.datasets import Data, MemoryBatches, build, image_folder
from shoal.errors import DataError
from shoal.recipe.compose import compose
from shoal.recipe.parts import ImageFolder
from shoal.store import record


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    top = tmp_path / "pets"
    for seed, split in enumerate(("train", "valid", "test")):
        class_folders(top / split, classes=("cat", "dog", "emu"), seed=100 * seed)
    return top


def load(place: Path, **keys: object) -> Data:
    return build(ImageFolder(path=str(place), **keys))


def test_a_folder_is_data_with_named_classes(pets: Path) -> None:
    data = load(pets)
    assert data.sizes == {"train": 12, "valid": 12, "test": 12}
    assert (data.input_shape, data.target_shape, data.classes, data.class_counts) == ((3, 6, 6), (), 3, (4, 4, 4))
    assert data.labels == ("cat", "dog", "emu")
    assert data.encoding == {"kind": "image", "channels": 3, "height": 6, "width": 6, "levels": 255}
    assert data.normalisation.mean.shape == (3, 1, 1)
    expected = np.stack([pixels(seed).transpose(2, 0, 1) for seed in range(200, 212)])
    assert np.array_equal(data.splits["test"].inputs.numpy(), expected)


@pytest.mark.parametrize(("mode", "name"), [("w", "a.tar"), ("w:gz", "a.tgz"), ("w:xz", "a.txz"), ("w:bz2", "a")])
@pytest.mark.parametrize("under", ["", "./", "pets/"])
def test_an_archive_is_the_same_data_as_the_folder_in_it(
    mode: str, name: str, under: str, pets: Path, tmp_path: Path
) -> None:
    data = load(packed(tmp_path / name, pets, mode, under=under))
    assert data.digest == load(pets).digest
    assert data.labels == ("cat", "dog", "emu")


def test_valid_is_cut_from_train_where_there_is_none(tmp_path: Path) -> None:
    data = load(class_folders(tmp_path / "pets", count=10), valid=5)
    assert data.sizes == {"train": 15, "valid": 5}
    assert data.notes[-1] == "valid: 5 examples cut from train by a fixed permutation"


def test_a_second_use_decodes_nothing(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(pets)
    monkeypatch.setattr(image_folder, "write_pixels", lambda *args: pytest.fail("decoded again"))
    second = load(pets)
    assert (first.digest, first.notes, first.labels) == (second.digest, second.notes, second.labels)
    with pytest.raises(pytest.fail.Exception):
        load(pets, size=4)
    (pets / "train" / "cat" / "9.png").write_bytes(encoded(pixels(999)))
    with pytest.raises(pytest.fail.Exception):
        load(pets)


def test_an_archive_that_is_known_is_not_even_listed(
    pets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "a.tar.xz", pets, "w:xz")
    first = load(path)
    monkeypatch.setattr("shoal.datasets.archive.listing", lambda path: pytest.fail("listed again"))
    assert load(path).digest == first.digest


def test_corrupt_pixels_are_made_again_and_that_is_said(pets: Path, cache: Path) -> None:
    first = load(pets)
    (file,) = cache.rglob("train.pixels")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    again = load(pets)
    assert again.digest == first.digest
    assert again.notes[0].endswith("was damaged (train.pixels is not what was written) and has been made again")


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads what is mapped from Linux")
def test_the_pixels_are_mapped_and_never_copied(pets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.datasets.memory.AHEAD_BYTES", 0)  # a split that is too large to finish in advance
    data = load(pets)
    train = data.splits["train"]
    mapped = [line.split() for line in Path("/proc/self/maps").read_text().splitlines() if "train.pixels" in line]
    bounds = [tuple(int(end, 16) for end in fields[0].split("-")) for fields in mapped]
    assert any(low <= train.inputs.data_ptr() < high for low, high in bounds)
    batches = MemoryBatches(
        train,
        batch_size=4,
        seed=0,
        drop_last=True,
        device="cpu",
        normalisation=data.normalisation,
        training=True,
    )
    assert batches._inputs.data_ptr() == train.inputs.data_ptr()
    batch = next(batches.start())
    assert torch.equal(batch.inputs, data.normalisation.apply(train.inputs[batch.index]))


def test_grey_and_resized_pictures_are_as_asked(pets: Path) -> None:
    assert load(pets, size=4, channels=1).input_shape == (1, 4, 4)
    assert load(pets, size=4).digest != load(pets, size=6).digest
    assert load(pets, size=6).digest == load(pets).digest


def test_broken_pictures_stop_or_are_left_out_by_name(pets: Path) -> None:
    for number in range(2):
        (pets / "train" / "dog" / f"{number}.png").write_bytes(b"broken")
    with pytest.raises(DataError, match=r"train/dog/0\.png: no picture.* Mend or remove it; .*dataset\.broken=skip"):
        load(pets)
    data = load(pets, broken="skip")
    assert data.sizes["train"] == 10
    assert data.notes[-1] == "left out: 2 broken pictures (train/dog/0.png, train/dog/1.png)"
    assert load(pets, broken="skip").notes == data.notes


def test_many_broken_pictures_are_counted_and_some_named(tmp_path: Path) -> None:
    folder = class_folders(tmp_path / "pets", count=10)
    for number in range(8):
        (folder / "cat" / f"{number}.png").write_bytes(b"broken")
    note = load(folder, broken="skip", valid=0).notes[-2]
    assert note == "left out: 8 broken pictures (cat/0.png, cat/1.png, cat/2.png, cat/3.png, cat/4.png, ...)"


def test_an_archive_with_a_way_out_is_refused_and_nothing_written(pets: Path, tmp_path: Path, cache: Path) -> None:
    path = tar_of(tmp_path / "evil.tar", [tarfile.TarInfo("cat/1.png"), tarfile.TarInfo("../dog/1.png")])
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=r"evil\.tar: \.\./dog/1\.png is a path that leads out of the archive"):
        load(path)
    assert [left for left in sorted(tmp_path.rglob("*")) if left.is_file() and left.suffix != ".lock"] == [
        found for found in before if found.is_file()
    ]


def test_a_truncated_archive_is_refused_and_nothing_kept(pets: Path, tmp_path: Path, cache: Path) -> None:
    path = packed(tmp_path / "a.tar.gz", pets, "w:gz")
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(DataError, match=r"a\.tar\.gz: the archive is truncated or damaged"):
        load(path)
    assert [left.suffix for left in (cache / "images").iterdir()] == [".lock"]


def test_a_path_that_is_not_there_names_the_nearest(pets: Path) -> None:
    with pytest.raises(DataError, match=r"does not exist: did you mean .*/pets\?; expected a folder with one folder"):
        load(pets.with_name("pet"))


def test_the_shared_pictures_are_an_image_folder(shared_data: Path) -> None:
    from shoal.datasets.image_layout import layout
    from shoal.datasets.image_source import source_of

    source = source_of(shared_data / "cifar10-jpeg.tar.xz")
    found = layout(source.where, source.names, source.folders)
    assert {split: len(pictures) for split, pictures in found.splits.items()} == {"train": 50_000, "test": 10_000}
    assert (len(found.classes), found.classes[:2], found.notes) == (10, ("airplane", "automobile"), ())


def test_a_run_on_pictures_records_what_a_prediction_needs(pets: Path, tmp_path: Path) -> None:
    words = [f"dataset.path={pets}", "dataset.size=8", "model.width=2", "batch_size=6", "budget.steps=3"]
    recipe = compose("cifar10_resnet", words)
    folder = conduct(recipe, runs=tmp_path / "runs", screen=Screen(io.StringIO()))
    facts = record.read(folder)
    assert facts["status"] == "finished"
    assert facts["data"]["labels"] == ["cat", "dog", "emu"]
    assert facts["data"]["encoding"] == {"kind": "image", "channels": 3, "height": 8, "width": 8, "levels": 255}
    path = packed(tmp_path / "pets.tar.xz", pets, "w:xz")
    again = compose("cifar10_resnet", [f"dataset.path={path}", *words[1:]])
    assert conduct(again, runs=tmp_path / "runs", screen=Screen(io.StringIO())).path == folder.path  # the same data
