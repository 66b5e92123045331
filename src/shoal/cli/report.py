"""`shoal report RUN`: one run as a standalone page of HTML, and its figures as files."""

from __future__ import annotations

from pathlib import Path

from shoal.cli import output
from shoal.errors import InputError, StoreError
from shoal.files import size, write_atomic
from shoal.pages.formats import clean
from shoal.pages.report import is_page, report
from shoal.store import RunFolder, record, resolve


def run(name: str, *, file: Path | None, figures: Path | None, force: bool, runs: Path, json: bool) -> int:
    """Write the page, and the figures where a folder is given for them; return the exit code."""
    folder = resolve(runs, name)
    target = _target(folder, file)
    if target.exists() and not force and not is_page(target):
        raise InputError(f"{str(target)!r} is there and is no page of Shoal's: say --force, or another -o FILE.")
    content = report(folder).encode("utf-8", "replace")
    _write(target, content)
    drawn = _figures(folder, figures) if figures is not None else []
    if json:
        files = {"file": str(target), "figures": [str(path) for path in drawn]}
        output.results([{**record.result(folder), **files}])
    else:
        more = f", and {len(drawn)} figures in {clean(figures)}" if drawn else ""
        output.lines([f"{clean(target)} ({size(len(content))}){more}"])
    return 0


def _target(folder: RunFolder, file: Path | None) -> Path:
    """The file to write; in a folder, and by default in the current one, the page is named after the run."""
    named = f"{folder.label.replace('/', '-')}.html"
    if file is None:
        return Path(named)
    return file / named if file.is_dir() else file


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content)
    except OSError as error:
        raise StoreError(f"cannot write {str(target)!r}: {error.strerror}. Choose another with -o FILE.") from error


def _figures(folder: RunFolder, into: Path) -> list[Path]:
    from shoal.pages.figures import draw  # noqa: PLC0415 none but the option that asks for them

    try:
        return draw(folder, into)
    except OSError as error:
        raise StoreError(f"cannot write figures to {str(into)!r}: {error.strerror}. Choose another folder.") from error
