"""The tables of a page of many runs: one row an experiment with mean and deviation, one row a run; and failures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from shoal.analysis import Experiment, Mean, Member
from shoal.pages import formats
from shoal.pages.markup import Content, Html, tag
from shoal.pages.statuses import SYMBOLS, status
from shoal.pages.sweep_view import View
from shoal.pages.varied import text_of

ORDER = {word: place for place, word in enumerate(SYMBOLS)}
MOST_REASONS = 50


def experiments_table(view: View) -> Html:
    """Return the table of experiments, the best first; a cell carries the number that it is sorted by."""
    titles = ["#", *(axis.short for axis in view.axes), *view.metrics, "runs", "experiment"]
    rows = [_experiment(view, number, one) for number, one in enumerate(view.experiments)]
    return _table("experiments", titles, rows, numbers=1 + len(view.axes) + len(view.metrics))


def runs_table(view: View) -> Html:
    """Return the table of runs, in the order of their experiments."""
    titles = ["#", *(axis.short for axis in view.axes), "seed", *view.metrics, "status", "run"]
    rows = [
        tag("tr", _run(view, number, member), data_e=number)
        for number, one in enumerate(view.experiments)
        for member in one.members
    ]
    return _table("runs", titles, rows, numbers=2 + len(view.axes) + len(view.metrics))


def _table(name: str, titles: Sequence[str], rows: Sequence[Html], *, numbers: int) -> Html:
    heads = [tag("th", title, scope="col", class_="n" if at < numbers else None) for at, title in enumerate(titles)]
    body = tag("tbody", rows)
    return tag("div", tag("table", tag("thead", tag("tr", heads)), body, id=name, class_="sortable"), class_="wide")


def _experiment(view: View, number: int, one: Experiment) -> Html:
    cells: list[Content] = [_number(number + 1)]
    cells += [_setting(one.config.get(axis.key)) for axis in view.axes]
    cells += [_mean(view.results[number][metric]) for metric in view.metrics]
    counted = Counter(member.summary.status for member in one.members)
    words = [f"{count} {formats.clean(word)}" for word, count in sorted(counted.items(), key=_by_status)]
    cells += [tag("td", ", ".join(words)), tag("td", tag("code", one.label))]
    return tag("tr", cells, data_e=number)


def _run(view: View, number: int, member: Member) -> list[Html]:
    config = view.experiments[number].config
    cells = [_number(number + 1), *(_setting(config.get(axis.key)) for axis in view.axes), _number(member.seed)]
    for metric in view.metrics:
        value = member.value(metric)
        soft = "n" if member.summary.status == "finished" else "n soft"
        cells.append(tag("td", formats.number(value), class_=soft, data_v=value))
    said = tag("td", status(member.summary.status).text, class_=_known(member.summary.status))
    return [*cells, said, tag("td", tag("code", member.summary.label))]


def _known(word: str) -> str | None:
    return word if word in SYMBOLS else None


def _by_status(item: tuple[str, int]) -> int:
    return ORDER.get(item[0], len(ORDER))


def _number(value: int) -> Html:
    return tag("td", value, class_="n", data_v=value)


def _setting(value: object) -> Html:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    return tag("td", text_of(value), class_="n", data_v=number)


def _mean(found: Mean | None) -> Html:
    """`0.9500 ± 0.0100 (5)`: mean, deviation over seeds, number of runs."""
    if found is None:
        return tag("td", formats.NOTHING, class_="n")
    scatter = f" ± {formats.number(found.deviation)}" if found.deviation is not None else ""
    return tag("td", f"{formats.number(found.mean)}{scatter} ({found.n})", class_="n", data_v=found.mean)


def statuses(view: View) -> Content:
    """Return how many runs are in each state, and of those that are neither finished nor waiting the reasons."""
    members = [member for one in view.experiments for member in one.members]
    counted = Counter(member.summary.status for member in members)
    pieces = [
        tag("span", f"{status(word).text} {formats.count(count)}", class_=f"status {_known(word) or ''}")
        for word, count in sorted(counted.items(), key=_by_status)
    ]
    spaced = [part for piece in pieces for part in (piece, "  ")]
    ended = [one for one in members if one.summary.status not in ("finished", "queued", "running")]
    if not ended:
        return tag("p", spaced)
    rows = [_reason(member) for member in ended[:MOST_REASONS]]
    more = tag("p", f"and {len(ended) - MOST_REASONS} more", class_="soft") if len(ended) > MOST_REASONS else None
    table = tag("div", tag("table", tag("tbody", rows)), class_="wide")
    return [tag("p", spaced), tag("h3", "Runs that ended without a result"), table, more]


def _reason(member: Member) -> Html:
    summary = member.summary
    reason = formats.clean(summary.reason or "no reason was recorded", keep="\n")
    said = tag("td", status(summary.status).text, class_=_known(summary.status))
    return tag("tr", said, tag("td", tag("code", summary.label)), tag("td", reason[:600]))
