"""What of a run is exported, and to where: checked before anything is written."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path

from shoal.errors import ExportError, InputError
from shoal.files import replacing
from shoal.pages.board_files import board_files

SUFFIXES: Mapping[str, tuple[str, ...]] = {
    "weights": (".safetensors",),
    "onnx": (".onnx",),
    "history": (".csv", ".parquet"),
}
"""How the name of each file ends; the history's ending chooses its format."""


@dataclass(frozen=True)
class Targets:
    """A path for each form that is wanted: files, and a folder for TensorBoard."""

    weights: Path | None = None
    onnx: Path | None = None
    history: Path | None = None
    tensorboard: Path | None = None

    @property
    def wanted(self) -> dict[str, Path]:
        """The forms that are wanted, in the order in which they are written."""
        paths = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: path for name, path in paths.items() if path is not None}

    @property
    def need_torch(self) -> bool:
        """Whether more than the history is wanted."""
        return bool(set(self.wanted) - {"history"})

    def check(self, *, force: bool) -> None:
        """Raise InputError where nothing is wanted, or a path cannot be written or would be overwritten."""
        if not self.wanted:
            raise InputError(
                "there is nothing to export: expected at least one of --weights FILE.safetensors, --onnx FILE.onnx, "
                "--history FILE.csv (or FILE.parquet) and --tensorboard DIR of one run; of many, --table FILE.csv, "
                "--histories FILE.csv (or FILE.parquet) and --hiplot FILE.csv."
            )
        for form, path in self.wanted.items():
            if form == "tensorboard":
                _check_folder(path, force)
            else:
                check_file(form, path, SUFFIXES[form], force=force)


@contextmanager
def written(path: Path) -> Generator[Path]:
    """Yield a path to write to, which becomes `path` when all of it is there; raises ExportError where it cannot be."""
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        raise ExportError(f"cannot write {path}: {error.strerror or error}. Nothing of it was left there.") from error


def check_file(form: str, path: Path, endings: Sequence[str], *, force: bool) -> None:
    """Raise InputError where a file of this form cannot be written to `path`, or would be overwritten."""
    if path.suffix not in endings:
        fitting = " or ".join(str(path.with_suffix(ending)) for ending in endings) if path.name else endings[0]
        raise InputError(f"{form} = {path}: expected a name that ends in {' or '.join(endings)}, such as {fitting}.")
    if path.is_dir():
        raise InputError(f"{form} = {path}: this is a folder: expected a file's name.")
    if not path.parent.is_dir():
        raise InputError(f"{form} = {path}: there is no folder {str(path.parent)!r}. Make it first.")
    if path.exists() and not force:
        raise InputError(f"{form} = {path}: the file exists, and is only overwritten with --force (force=True).")


def _check_folder(path: Path, force: bool) -> None:
    if path.exists() and not path.is_dir():
        raise InputError(f"tensorboard = {path}: this is a file: expected a folder's name.")
    there = board_files(path)
    if there and not force:
        raise InputError(
            f"tensorboard = {path}: {there[0].name} is there already, and is only replaced with --force (force=True)."
        )
