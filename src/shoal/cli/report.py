"""`shoal report A...`: a run, a sweep or several runs as a standalone page of HTML, and its figures as files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.analysis import Experiment, of_runs, of_sweep
from shoal.cli import output
from shoal.errors import InputError, StoreError
from shoal.files import size, write_atomic
from shoal.pages.chosen import folders_of, is_sweep
from shoal.pages.document import is_page
from shoal.pages.formats import clean
from shoal.pages.report import report
from shoal.pages.sweep_report import sweep_report
from shoal.pages.sweep_view import View, view_of, view_of_sweep
from shoal.store import RunFolder, record, sweeps
from shoal.store.catalog import as_result


@dataclass(frozen=True)
class Subject:
    """What a page is of: how to make it and its figures, its default name, what `--json` says of it."""

    file: str
    page: Callable[[], str]
    figures: Callable[[Path], list[Path]]
    told: Mapping[str, Any]


def run(names: Sequence[str], *, file: Path | None, figures: Path | None, force: bool, runs: Path, json: bool) -> int:
    """Write the page, and the figures where a folder is given for them; return the exit code."""
    subject = _subject(names, runs)
    target = _target(subject.file, file)
    if target.exists() and not force and not is_page(target):
        raise InputError(f"{str(target)!r} is there and is no page of Shoal's: say --force, or another -o FILE.")
    content = subject.page().encode("utf-8", "replace")
    _write(target, content)
    drawn = _drawn(subject, figures) if figures is not None else []
    if json:
        files = {"file": str(target), "figures": [str(path) for path in drawn]}
        output.results([{**subject.told, **files}])
    else:
        more = f", and {len(drawn)} figures in {clean(figures)}" if drawn else ""
        output.lines([f"{clean(target)} ({size(len(content))}){more}"])
    return 0


def _subject(names: Sequence[str], runs: Path) -> Subject:
    """A sweep, several runs or experiments, or one run."""
    if len(names) > 1:
        return _of_many(view_of(" and ".join(names), _experiments(runs, names)), "comparison.html")
    if is_sweep(runs, names[0]):
        return _of_many(view_of_sweep(runs, sweeps.read(runs, names[0])), f"{names[0]}.html")
    folders = folders_of(runs, names[0])
    if len(folders) > 1:
        found = of_runs(folders)
        return _of_many(view_of(found[0].label, found), f"{found[0].label}.html")
    return _of_one(folders[0])


def _experiments(runs: Path, names: Sequence[str]) -> list[Experiment]:
    """What several names mean; runs of one experiment come together, and none twice."""
    folders: list[RunFolder] = []
    for name in names:
        if is_sweep(runs, name):
            every = of_sweep(runs, sweeps.read(runs, name))
            folders += [member.folder for one in every for member in one.members]
        else:
            folders += folders_of(runs, name)
    return of_runs(folders)


def _of_one(folder: RunFolder) -> Subject:
    return Subject(
        f"{folder.label.replace('/', '-')}.html",
        page=lambda: report(folder),
        figures=lambda into: _figures(folder, into),
        told=record.result(folder),
    )


def _of_many(view: View, file: str) -> Subject:
    runs = [as_result(member.summary) for one in view.experiments for member in one.members]
    return Subject(
        file,
        page=lambda: sweep_report(view),
        figures=lambda into: _figures(view, into),
        told={"sweep": view.sweep.name if view.sweep else None, "runs": runs},
    )


def _figures(of: RunFolder | View, into: Path) -> list[Path]:
    from shoal.pages.figures import draw  # noqa: PLC0415 none but the option that asks for them
    from shoal.pages.sweep_figures import draw_many  # noqa: PLC0415

    return draw(of, into) if isinstance(of, RunFolder) else draw_many(of, into)


def _target(named: str, file: Path | None) -> Path:
    """The file to write; in a folder, and by default in the current one, the page has its own name."""
    if file is None:
        return Path(named)
    return file / named if file.is_dir() else file


def _write(target: Path, content: bytes) -> None:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content)
    except OSError as error:
        raise StoreError(f"cannot write {str(target)!r}: {error.strerror}. Choose another with -o FILE.") from error


def _drawn(subject: Subject, into: Path) -> list[Path]:
    try:
        return subject.figures(into)
    except OSError as error:
        raise StoreError(f"cannot write figures to {str(into)!r}: {error.strerror}. Choose another folder.") from error
