"""`shoal export`: weights, model, history or board of one run, or tables of many, as files for other programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from shoal.cli import output
from shoal.errors import InputError, StoreError
from shoal.pages.export_many import Tables, write_tables
from shoal.pages.export_targets import Targets
from shoal.pages.formats import clean
from shoal.store import RunFolder, record, resolve, summaries, sweeps
from shoal.store.catalog import of_sweep

SEVERAL = 200
"""Runs that take longer than a second or two to read."""


def run(
    names: Sequence[str],
    targets: Targets,
    tables: Tables,
    *,
    runs: Path,
    sweep: str | None = None,
    which: str | None = None,
    modules: Sequence[str] = (),
    force: bool = False,
    json: bool = False,
) -> int:
    """Write the files and say which; return the exit code."""
    if tables.wanted:
        of_one, of_many = [*targets.wanted, *(["which"] if which else [])], next(iter(tables.wanted))
        if of_one:
            raise InputError(f"--{of_one[0]} is of one run and --{of_many} of many: export them one after the other.")
        return _export_many(names, tables, runs=runs, sweep=sweep, force=force, json=json)
    targets.check(force=force)
    if len(names) != 1 or sweep is not None:
        raise InputError(
            f"{' and '.join(f'--{form}' for form in targets.wanted)}: name one run, as in 'export digits'."
        )
    folder = resolve(runs, names[0])
    _write(folder, targets, which, modules, force)
    if json:
        output.results([{**record.result(folder), "files": _texts(targets.wanted)}])
    else:
        _say(targets.wanted)
    return 0


def _export_many(
    names: Sequence[str], tables: Tables, *, runs: Path, sweep: str | None, force: bool, json: bool
) -> int:
    tables.check(force=force)
    folders = _chosen(names, runs, sweep)
    from shoal.recipe import flat  # noqa: PLC0415 imports pydantic

    if len(folders) > SEVERAL:
        output.note(f"Reading {len(folders):,} runs ...")
    write_tables(folders, tables, flat.read)
    if json:
        output.results([{"runs": len(folders), "files": _texts(tables.wanted)}])
    else:
        _say(tables.wanted)
        output.note(f"{len(folders):,} run{'s' * (len(folders) != 1)}")
    return 0


def _chosen(names: Sequence[str], runs: Path, sweep: str | None) -> list[RunFolder]:
    """The runs that are named, or those of a sweep, or all."""
    if names and sweep is not None:
        raise InputError(f"--sweep {sweep} says which runs are meant: name none beside it.")
    if names:
        return list(dict.fromkeys(resolve(runs, name) for name in names))
    every = summaries(runs)
    found = every if sweep is None else of_sweep(every, sweeps.read(runs, sweep))
    if not found:
        whose = f"{str(runs)!r}" if sweep is None else f"the sweep {sweep}"
        raise StoreError(f"there are no runs in {whose} yet: there is nothing to export.")
    return [run.folder for run in found]


def _texts(wanted: Mapping[str, Path]) -> dict[str, str]:
    return {form: str(path) for form, path in wanted.items()}


def _say(wanted: Mapping[str, Path]) -> None:
    output.lines(f"{form:<12} {clean(path)}" for form, path in wanted.items())


def _write(folder: RunFolder, targets: Targets, which: str | None, modules: Sequence[str], force: bool) -> None:
    if not targets.need_torch and which is None:
        from shoal.pages.history_file import write_history  # noqa: PLC0415 none but the form that is wanted

        assert targets.history is not None
        write_history(folder, targets.history)
        return
    from shoal.assembly import export, import_modules  # noqa: PLC0415 imports torch

    import_modules(modules)
    export(folder, targets, which=which, force=force, say=output.note)
