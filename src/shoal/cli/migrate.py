"""`shoal migrate`: runs whose code or data were changed since, and the word that it makes no difference."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.assembly import import_modules
from shoal.assembly.migration import Examined, Examiner, check_words, migrate
from shoal.cli import output
from shoal.errors import InputError, StoreError
from shoal.pages.formats import clean
from shoal.store import RunFolder, resolve
from shoal.store.catalog import as_result, folders_in, summary_of
from shoal.store.folder import lies_in
from shoal.store.layout import SEED
from shoal.store.moving import between


def run(
    names: Sequence[str], accept: Collection[str], *, runs: Path, modules: Sequence[str], json: bool = False
) -> int:
    """Print what has changed, and migrate what is accepted; return the exit code."""
    import_modules(modules)
    folders = list(dict.fromkeys(_resolved(runs, name) for name in names)) if names else _all(runs)
    examined = list(Examiner(runs).examine(folders))
    if names and (wrong := next((one for one in examined if one.problem), None)):
        raise InputError(str(wrong.problem))
    check_words(accept, examined)
    moved = migrate(examined, accept, runs=runs) if accept else {}
    if json:
        output.results(_result(one, moved) for one in examined)
        return 0
    for one in examined:
        output.lines(_told(one, moved))
    output.lines([_summary(examined, moved, accept)])
    return 0


def _resolved(runs: Path, name: str) -> RunFolder:
    folder = resolve(runs, name)
    if not lies_in(runs, folder.path):
        raise StoreError(
            f"{str(folder.path)!r} lies outside of the runs folder {str(runs)!r}: name the folder of runs that it lies "
            "in: --runs DIR."
        )
    return folder


def _all(runs: Path) -> list[RunFolder]:
    found = (folder for folder in folders_in(runs) if SEED.fullmatch(folder.path.name))
    return sorted(found, key=lambda folder: folder.label)


def _result(one: Examined, moved: Mapping[Path, RunFolder]) -> dict[str, Any]:
    folder = moved.get(one.folder.path, one.folder)
    summary = summary_of(folder)
    return {
        **(as_result(summary) if summary is not None else {"run": folder.label, "folder": str(folder.path)}),
        "differences": [difference.plain() for difference in one.differences],
        "becomes": one.run.label if one.differences else None,
        "migrated": one.folder.path in moved,
        "problem": one.problem,
    }


def _told(one: Examined, moved: Mapping[Path, RunFolder]) -> list[str]:
    label = clean(one.folder.label)
    if one.problem is not None:
        return [f"? {label}", *(f"    {clean(line)}" for line in one.problem.splitlines())]
    if one.folder.path in moved:
        return [f"✓ {label} is {clean(moved[one.folder.path].label)} now"]
    if one.differences:
        said = [f"    {clean(difference.said)}" for difference in one.differences]
        return [f"≠ {label}", *said, f"    as it is now, it would be {clean(one.run.label)}"]
    if between(one.folder):
        return [f"≠ {label}", "    it was left on its way by a process that was killed: any --accept brings it home"]
    return []


def _summary(examined: Sequence[Examined], moved: Mapping[Path, RunFolder], accept: Collection[str]) -> str:
    changed = [one for one in examined if one.differences and one.folder.path not in moved]
    unknown, same = sum(one.problem is not None for one in examined), len(examined) - len(changed) - len(moved)
    parts = [f"{len(moved):,} migrated"] if accept else []
    parts += [f"{len(changed):,} changed", f"{same - unknown:,} as they were"]
    parts += [f"{unknown:,} that cannot be compared"] if unknown else []
    text = f"{len(examined):,} run{'s' * (len(examined) != 1)}: {', '.join(parts)}."
    if not changed:
        return text
    words = dict.fromkeys(difference.what for one in changed for difference in one.differences)
    say = " ".join(f"--accept {word}" for word in dict.fromkeys(word.partition(".")[0] for word in words))
    nothing = "" if moved else " Nothing was changed."
    return f"{text}{nothing} Where the change makes no difference to any result, say so: {say}"
