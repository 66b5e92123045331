"""`shoal export RUN`: weights, model, history or board of a run as files for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoal.cli import output
from shoal.pages.export_targets import Targets
from shoal.pages.formats import clean
from shoal.store import RunFolder, record, resolve


def run(
    name: str,
    targets: Targets,
    *,
    runs: Path,
    which: str | None = None,
    modules: Sequence[str] = (),
    force: bool = False,
    json: bool = False,
) -> int:
    """Write the files and say which; return the exit code."""
    targets.check(force=force)
    folder = resolve(runs, name)
    _write(folder, targets, which, modules, force)
    if json:
        files = {form: str(path) for form, path in targets.wanted.items()}
        output.results([{**record.result(folder), "files": files}])
    else:
        output.lines(f"{form:<12} {clean(path)}" for form, path in targets.wanted.items())
    return 0


def _write(folder: RunFolder, targets: Targets, which: str | None, modules: Sequence[str], force: bool) -> None:
    if not targets.need_torch and which is None:
        from shoal.pages.history_file import write_history  # noqa: PLC0415 none but the form that is wanted

        assert targets.history is not None
        write_history(folder, targets.history)
        return
    from shoal.assembly import export, import_modules  # noqa: PLC0415 imports torch

    import_modules(modules)
    export(folder, targets, which=which, force=force, say=output.note)
