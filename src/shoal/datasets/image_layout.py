"""Which pictures a folder or an archive holds, of which class and in which split, from the names in it alone.

Class folders, or train, valid (or val) and test with class folders in them; one folder above either is looked
through. Examples come by class and name, so a folder and an archive of it are the same data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from posixpath import splitext

from shoal.datasets.image_decode import SUFFIXES
from shoal.errors import DataError, nearest

SPLITS = {"train": "train", "valid": "valid", "val": "valid", "validation": "valid", "test": "test"}
"""What a folder of a split may be called, in capitals or not."""
EXPECTED = (
    "a folder with one folder of pictures a class, or with train, valid and test folders of class folders, "
    "or a .tar (.gz, .xz, .bz2) of either"
)
Tree = Mapping[str, list[str]]


@dataclass(frozen=True)
class Layout:
    """The classes in the order of their labels; by split, the pictures and their labels; how many files are neither."""

    classes: tuple[str, ...]
    splits: Mapping[str, list[tuple[str, int]]]
    notes: tuple[str, ...]


def layout(where: str, files: Iterable[str], folders: Iterable[str]) -> Layout:
    """Return how the pictures among `files` (paths below `where`, with slashes) are classed; raises DataError."""
    seen = sorted(name for name in files if _visible(name))
    pictures = [name for name in seen if splitext(name)[1].lower() in SUFFIXES]
    below = _folders_below([*map(_parent, seen), *filter(_visible, folders)])
    root = _root(below, set(map(_parent, pictures)))
    places, left_out = _places(where, root, below)
    classes = _classes(where, places["train"], below)
    splits = {split: _examples(where, place, pictures, classes, below) for split, place in places.items()}
    others = len(seen) - sum(map(len, splits.values()))
    notes = [f"left out: {others:,} file{'s' * (others != 1)} that are no picture of a class"] if others else []
    notes += [f"folders left out: {', '.join(left_out)}"] if left_out else []
    return Layout(classes, splits, tuple(notes))


def _parent(name: str) -> str:
    return name.rpartition("/")[0] or "."


def _visible(name: str) -> bool:
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))  # such as ._cat.jpg


def _folders_below(folders: Iterable[str]) -> dict[str, list[str]]:
    """The names of the folders in each folder; the topmost is "."."""
    found: dict[str, set[str]] = {".": set()}
    for folder in set(folders):
        for path in (PurePosixPath(folder), *PurePosixPath(folder).parents):
            found.setdefault(path.as_posix(), set())
            if path.name:
                found.setdefault(path.parent.as_posix(), set()).add(path.name)
    return {folder: sorted(names) for folder, names in found.items()}


def _join(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _root(below: Tree, with_pictures: set[str]) -> str:
    """The folder that holds the classes or the splits: the top, or an only folder in it that holds folders only."""
    root = "."
    while len(below[root]) == 1 and root not in with_pictures:
        only = _join(root, below[root][0])
        if below[root][0].lower() in SPLITS or only in with_pictures or not below[only]:
            break
        root = only
    return root


def _places(where: str, root: str, below: Tree) -> tuple[dict[str, str], list[str]]:
    """The folder of each split, and the folders that are none; without splits, all is train."""
    named = {name: SPLITS[name.lower()] for name in below[root] if name.lower() in SPLITS}
    trains = [name for name, split in named.items() if split == "train"]
    if len(named) < len(below[root]) and not any(below[_join(root, name)] for name in trains):
        return {"train": root}, []
    if not trains:
        if named:
            raise DataError(f"{where}: there is no train folder beside {', '.join(named)}: expected {EXPECTED}.")
        return {"train": root}, []
    places: dict[str, str] = {}
    for name, split in named.items():
        if split in places:
            raise DataError(f"{where}: {places[split]} and {name} both mean {split}. Keep one of them.")
        places[split] = _join(root, name)
    others = [name for name in below[root] if name not in named]
    for name in others:
        if close := nearest(name.lower(), SPLITS):
            raise DataError(f"{where}: the folder {name} is beside train: did you mean {close}? Rename it.")
    return places, others


def _classes(where: str, place: str, below: Tree) -> tuple[str, ...]:
    found = below[place]
    shown = where if place == "." else f"{where}: {place}"
    if not found:
        raise DataError(f"{shown}: there is no class folder in it: expected {EXPECTED}.")
    if len(found) == 1:
        raise DataError(
            f"{shown}: there is one class only, {found[0]}: with nothing to tell it from there is nothing to learn. "
            f"Expected {EXPECTED}."
        )
    for name in found:
        if not name.isprintable():
            raise DataError(f"{shown}: the class folder {name!a} has a name that cannot be printed. Rename it.")
    return tuple(found)


def _examples(
    where: str, place: str, pictures: list[str], classes: tuple[str, ...], below: Tree
) -> list[tuple[str, int]]:
    """The pictures of one split with their labels, by class and name."""
    of_class: dict[str, list[str]] = {name: [] for name in below[place]}
    prefix = "" if place == "." else f"{place}/"
    for name in pictures:
        kind, _, inside = name.removeprefix(prefix).partition("/")
        if name.startswith(prefix) and inside:
            of_class[kind].append(name)
    for name, found in of_class.items():
        if name not in classes:
            close = nearest(name, classes)
            hint = f"did you mean {close}? " if close else ""
            raise DataError(
                f"{where}: {prefix}{name}: there is no such class in train: {hint}There are: {', '.join(classes)}."
            )
        if not found:
            raise DataError(
                f"{where}: {prefix}{name}: the class is empty: expected pictures in it "
                f"({', '.join(sorted(SUFFIXES))}). Fill the folder, or remove it."
            )
    return [(name, label) for label, kind in enumerate(classes) for name in of_class.get(kind, ())]
