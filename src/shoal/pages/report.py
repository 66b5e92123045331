"""One run as one file of HTML: standalone, without a network, complete without its script.

Made from the run's folder alone, in whatever state it is. All text from the run is escaped (`markup`), and the policy
in the head lets nothing load and no other script run.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from shoal.pages import formats
from shoal.pages.chart import chart
from shoal.pages.findings import findings
from shoal.pages.lenient import inner, real
from shoal.pages.lost_rows import lost_rows
from shoal.pages.markup import Content, Html, tag
from shoal.pages.metrics_grid import rows_of
from shoal.pages.report_facts import provenance, recipe
from shoal.pages.report_samples import predictions
from shoal.pages.report_time import time_spent
from shoal.pages.series import MAIN, Rows, hypers, quantities
from shoal.pages.splits import split_of, splits_of, title
from shoal.pages.statuses import advice, status
from shoal.pages.tables import grid
from shoal.pages.which_weights import weights_in_words
from shoal.store import RunFolder, latest, read_journal, record

GENERATOR = "Shoal run page"
MOST_CHARTS = 10
LOG_LINES, LOG_CHARACTERS = 200, 30_000
ENDED = ("finished", "failed", "stopped", "killed")


def report(folder: RunFolder, *, now: datetime | None = None) -> str:
    """Return the page; raises StoreError for a record that cannot be read."""
    known = record.read(folder)
    word = record.status(folder, dict(known))
    history, _ = read_journal(folder.history)
    timing, _ = read_journal(folder.timing)
    body = [
        _head(folder, known, word),
        _what_happened(folder, known, history, word=word),
        _curves(history, lost_rows(folder, known)),
        predictions(folder),
        recipe(folder, known),
        time_spent(known, timing),
        provenance(folder, known),
        _log(folder),
        _foot(now),
    ]
    return _document(f"{known.get('name') or folder.label}, seed {known.get('seed', 0)}", body)


def is_page(path: Path) -> bool:
    """Return whether a file is a page that was made here."""
    try:
        with path.open("rb") as file:
            return f'content="{GENERATOR}"'.encode() in file.read(2000)
    except OSError:
        return False


def _document(title: str, body: Content) -> str:
    here = Path(__file__).parent
    style, script = ((here / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    head = [
        Html('<meta charset="utf-8">'),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="generator", content=GENERATOR),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        Html(f"<style>{style}</style>"),
    ]
    page = tag("body", tag("main", body), Html(f"<script>{script}</script>"))
    return f'<!DOCTYPE html>\n<html lang="en">{tag("head", head)}{page}</html>\n'


def _head(folder: RunFolder, known: Mapping[str, Any], word: str) -> Html:
    title = [known.get("name") or folder.label, tag("span", f", seed {known.get('seed', 0)}", class_="soft")]
    cell = status(word)
    total = f" of {formats.number(known['total_steps'])}" if known.get("total_steps") is not None else ""
    steps = f"{formats.number(known['steps'])}{total} steps" if known.get("steps") is not None else None
    time = f"in {formats.duration(real(known.get('seconds')))}" if real(known.get("seconds")) is not None else None
    said = [tag("span", cell.text, class_=f"status {word}"), *(part for part in (steps, time) if part)]
    spaced = [piece for part in said for piece in (part, " ")]
    return tag("header", tag("h1", title), tag("p", spaced), _result(known, folder))


def _result(known: Mapping[str, Any], folder: RunFolder) -> Content:
    """The metrics: those of the result, or the latest; the first few large."""
    final = inner(known, "metrics")
    found = final or {key: value for key, value in latest(folder.history).items() if "." in key}
    if not found:
        return tag("p", "No metrics have been recorded yet.")
    splits = splits_of(found)
    main = "test" if any(split.startswith("test") for split in splits) else "valid"
    large = [name for name in found if split_of(name).startswith(main)]  # averaged weights beside the others
    large.sort(key=lambda name: MAIN.index(last) if (last := name.partition(".")[2]) in MAIN else len(MAIN))
    shown = [tag("div", name, tag("b", formats.number(found[name]))) for name in large[:4]]
    rows = [[name, *(formats.number(found.get(f"{split}.{name}")) for split in splits)] for name in rows_of(found)]
    note = None if final else tag("p", "The latest metrics; the run has no result yet.", class_="soft")
    words = weights_in_words(known)
    weights = tag("p", f"Weights that count: {words}.", class_="soft") if words else None
    return [tag("div", shown, class_="result"), note, grid(["metric", *map(title, splits)], rows), weights]


def _what_happened(folder: RunFolder, known: Mapping[str, Any], history: Rows, *, word: str) -> Html:
    sentences = findings(known, history, ended=word in ENDED)
    reason = formats.clean(known.get("reason") or "", keep="\n")
    ended = {"finished": "Why it ended: ", "failed": "Why it failed: "}.get(word, "")
    parts: list[Content] = [tag("p", f"{ended}{reason}") if reason else None]
    if word != "finished":
        command = formats.clean(inner(known, "provenance").get("command") or "shoal train")
        parts.append(tag("p", f"What to do next: {advice(word, folder=formats.clean(folder.path), command=command)}"))
    if word == "failed":
        parts.append(_traceback(folder, reason))
    parts.append(tag("ul", [tag("li", sentence) for sentence in sentences]) if sentences else None)
    return tag("section", tag("h2", "What happened"), parts)


def _traceback(folder: RunFolder, reason: str) -> Html | None:
    """What train.log has from the last failure on, where that is more than the reason."""
    text = _log_text(folder)
    _, found, after = text.rpartition("\nfailed: ") if "\nfailed: " in text else text.rpartition("failed: ")
    more = after.strip()[-LOG_CHARACTERS:]
    return tag("pre", more) if found and formats.clean(more, keep="\n") not in reason else None


def _curves(history: Rows, lost: Sequence[str]) -> Html:
    drawn, values = quantities(history), hypers(history)
    parts: list[Content] = []
    if drawn or values:
        hint = "Drag across a chart to zoom in; double-click to see all of it again."
        parts.append(tag("p", hint, class_="hint soft", hidden=True))
        charts = [chart(quantity) for quantity in [*drawn[: MOST_CHARTS - len(values)], *values]]
        parts.append(tag("div", charts, class_="grid"))
        left = [quantity.name for quantity in drawn[MOST_CHARTS - len(values) :]]
        parts.append(tag("p", f"Not drawn: {', '.join(left)}.", class_="soft") if left else None)
    else:
        parts.append(tag("p", "There are no rows of history yet."))
    parts.extend(tag("p", sentence) for sentence in lost)
    return tag("section", tag("h2", "Curves"), parts)


def _log_text(folder: RunFolder) -> str:
    try:
        return folder.log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _log(folder: RunFolder) -> Html | None:
    lines = _log_text(folder).splitlines()
    if not lines:
        return None
    last = "\n".join(lines[-LOG_LINES:])[-LOG_CHARACTERS:]
    title = f"The last {LOG_LINES} lines of {len(lines):,}" if len(lines) > LOG_LINES else "What the training said"
    return tag("section", tag("h2", "Log"), tag("details", tag("summary", title), tag("pre", last)))


def _foot(now: datetime | None) -> Html:
    moment = (now or datetime.now().astimezone()).strftime("%Y-%m-%d %H:%M")
    return tag("footer", tag("p", f"Made by shoal report from the run's folder, {moment}."))
