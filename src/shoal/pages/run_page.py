"""What `shoal show` prints of one run: how it went, what came out, and everything that it was made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from shoal.files import size
from shoal.pages import formats
from shoal.pages.blocks import Block, Column, Grid, Heading, Lines, Pairs, text_of
from shoal.pages.curves import curve
from shoal.pages.lenient import real, rows_of
from shoal.pages.lost_rows import lost_rows
from shoal.pages.metrics_grid import metrics_grid
from shoal.pages.plan_facts import plan_facts, scaled_rows
from shoal.pages.series import points
from shoal.pages.splits import split_of
from shoal.pages.statuses import advice, status
from shoal.pages.which_weights import weights_in_words
from shoal.store import RunFolder, latest, notes, read_journal, record

DRAWN = (
    "train.loss",
    "valid.loss",
    "valid_average.loss",
    "train.accuracy",
    "valid.accuracy",
    "valid_average.accuracy",
)
OTHERS_DRAWN = 2

Record = Mapping[str, Any]


def run_page(folder: RunFolder, *, columns: int = 60) -> list[Block]:
    """Return the page; curves are up to `columns` wide. Raises StoreError for a record that cannot be read."""
    known = record.read(folder)
    history, _ = read_journal(folder.history)
    sections = (
        _metrics(known, latest(folder.history)),
        _curves(history, lost_rows(folder, known), columns),
        _data(known),
        _plan(known),
        _scaled(known),
        _checkpoints(folder),
        _time(folder, known),
        _recipe(folder),
    )
    return [*_head(folder, known), *(block for section in sections for block in section)]


def _head(folder: RunFolder, known: Record) -> list[Block]:
    word = record.status(folder, dict(known))
    said = notes.of(folder)
    command = formats.clean(_inner(known, "provenance").get("command") or "shoal train")
    rows = [
        ("status", status(word)),
        ("reason", formats.clean(known.get("reason") or "", keep="\n")),
        ("next", advice(word, folder=formats.clean(folder.path), command=command, by_hand="program" in known)),
        ("tags", formats.clean(", ".join(said.tags))),
        ("note", formats.clean(notes.problem(folder) or said.note, keep="\n")),
        ("folder", formats.clean(folder.path)),
        ("name", formats.clean(known.get("name") or "")),
        ("signature", formats.clean(known.get("signature") or "")),
        ("formerly", _formerly(known)),
        ("extended from", _extended(known)),
        ("steps", _steps(known)),
        ("best", _best(known)),
        ("weights", "" if known.get("best") else weights_in_words(known)),
        ("parameters", formats.number(known["parameters"]) if known.get("parameters") is not None else ""),
    ]
    return [Heading(formats.clean(folder.label)), _pairs(rows)]


def _pairs(rows: Sequence[tuple[str, Any]]) -> Pairs:
    return Pairs([(name, value) for name, value in rows if text_of(value)])


def _inner(known: Record, key: str) -> dict[str, Any]:
    value = known.get(key)
    return cast(dict[str, Any], value) if isinstance(value, dict) else {}


def _steps(known: Record) -> str:
    if known.get("steps") is None:
        return ""
    total = f" of {formats.number(known['total_steps'])}" if known.get("total_steps") is not None else ""
    epochs = f" ({found:g} epochs)" if (found := real(known.get("epochs"))) is not None else ""
    return f"{formats.number(known['steps'])}{total}{epochs}"


def _formerly(known: Record) -> str:
    """The last run that it was before `shoal migrate`."""
    last = rows_of(known, "formerly")[-1:]
    return formats.clean(f"{last[0].get('run')} ({last[0].get('signature')})") if last else ""


def _extended(known: Record) -> str:
    source = _inner(known, "extended_from")
    return f"{formats.clean(source.get('run'))}, at step {formats.number(source.get('step'))}" if source else ""


def _best(known: Record) -> str:
    best = _inner(known, "best")
    if not best:
        return ""
    value, step = formats.number(best.get("value")), formats.number(best.get("step"))
    return f"{formats.clean(best.get('metric'))} {value} at step {step}"


def _metrics(known: Record, row: Mapping[str, Any]) -> list[Block]:
    """Metrics as rows and splits as columns: those of the result, or the latest where there is none yet."""
    final = _inner(known, "metrics")
    found = final or {key: value for key, value in row.items() if "." in key}
    if not found:
        return []
    return [Heading("metrics" if final else "latest metrics"), metrics_grid(found)]


def _curves(history: Sequence[Record], lost: Sequence[str], columns: int) -> list[Block]:
    names = list(dict.fromkeys(name for row in history for name in row if "." in name and not _is_test(name)))
    drawn = [name for name in DRAWN if name in names] or names[:OTHERS_DRAWN]
    lines = [line for name in drawn for line in curve(formats.clean(name), points(history, name), columns=columns)]
    lines.extend(lost)
    return [Heading("history"), Lines(lines)] if lines else []


def _is_test(name: str) -> bool:
    """Return whether a metric is of the test split, which is measured once."""
    return split_of(name).startswith("test")


def _data(known: Record) -> list[Block]:
    data = _inner(known, "data")
    if not data:
        return []
    sizes = ", ".join(f"{formats.clean(split)} {formats.number(size)}" for split, size in _inner(data, "sizes").items())
    notes = cast(list[Any], data.get("notes") or [])
    rows = [
        ("dataset", formats.clean(data.get("name") or "")),
        ("path", formats.clean(data.get("path") or "")),
        ("examples", sizes),
        ("digest", formats.clean(data.get("digest") or "")),
        ("notes", "\n".join(formats.clean(note) for note in notes)),
    ]
    return [Heading("data"), _pairs(rows)]


def _plan(known: Record) -> list[Block]:
    rows = plan_facts(known)
    source = _inner(known, "provenance")
    git = _inner(source, "git")
    commit = f"{formats.clean(git.get('commit'))}{', with changes that are not committed' if git.get('dirty') else ''}"
    rows += [
        ("host", formats.clean(known.get("host") or source.get("host") or "")),
        ("python", formats.clean(source.get("python") or "")),
        ("commit", commit if git else ""),
        ("command", formats.clean(source.get("command") or "")),
    ]
    return [Heading("plan and provenance"), _pairs(rows)] if any(value for _, value in rows) else []


def _scaled(known: Record) -> list[Block]:
    rows = scaled_rows(known)
    columns = [Column("key"), Column("recipe", right=True), Column("trained with", right=True), Column("why")]
    return [Heading("rescaled for the batch size (scale_from)"), Grid(columns, rows)] if rows else []


def _checkpoints(folder: RunFolder) -> list[Block]:
    found = sorted(path for path in folder.checkpoints.glob("step-*") if path.is_dir() and "." not in path.name)
    rows = [[formats.clean(path.name), size(_bytes_of(path))] for path in found]
    columns = [Column("checkpoint"), Column("size", right=True)]
    return [Heading("checkpoints"), Grid(columns, rows)] if rows else []


def _bytes_of(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _time(folder: RunFolder, known: Record) -> list[Block]:
    rates = [real(row.get("examples_per_second")) for row in read_journal(folder.timing)[0]]
    moving = sorted(rate for rate in rates if rate is not None and rate > 0)
    seconds = real(known.get("seconds"))
    rows = [
        ("started", formats.when(known["started"]) if known.get("started") else ""),
        ("finished", formats.when(known["finished"]) if known.get("finished") else ""),
        ("training", formats.duration(seconds) if seconds is not None else ""),
        ("attempts", formats.number(known["attempts"]) if known.get("attempts") else ""),
        ("rate", f"{moving[len(moving) // 2]:,.0f} examples/s" if moving else ""),
    ]
    return [Heading("time"), _pairs(rows)] if any(value for _, value in rows) else []


def _recipe(folder: RunFolder) -> list[Block]:
    try:
        lines = folder.recipe.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [Heading("recipe"), Lines([formats.clean(line) for line in lines])]
