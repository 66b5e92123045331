"""Many runs as one file of HTML: standalone, without a network, and without its script still a page to read.

The script (`sweep.js`) adds what has to move: curves of any experiments, parallel coordinates with brushes, tables that
sort and filter. It gets its data as JSON and sets text only; nothing from a run becomes markup or code.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shoal.analysis import difference, verdict
from shoal.pages import formats
from shoal.pages.axis_plots import axis_plot
from shoal.pages.band_chart import SHOWN, band_chart, key
from shoal.pages.bundles import Curves, curves_of
from shoal.pages.document import data, document
from shoal.pages.heat_maps import MOST_MAPS, heat_map, heats, pairs_of
from shoal.pages.many_tables import experiments_table, runs_table, statuses
from shoal.pages.markup import Content, Html, tag
from shoal.pages.report_facts import value
from shoal.pages.series import lower_is_better
from shoal.pages.sources import apart, facts_of
from shoal.pages.sweep_data import script_data
from shoal.pages.sweep_view import View
from shoal.pages.tables import facts, grid

MOST_PLOTS = 10
MOST_KEYS = 30


def sweep_report(view: View, *, now: datetime | None = None) -> str:
    """Return the page."""
    curves = curves_of(view.experiments)
    body = [
        _head(view),
        _best(view),
        _curves(view, curves),
        _parallel(view),
        _tables(view),
        _each("What each hyperparameter does", view, _axis_plots),
        _each("Pairs of hyperparameters", view, _heat_maps),
        _configuration(view),
        _where_from(view),
        tag("section", tag("h2", "Statuses"), statuses(view)),
        _foot(now),
        data("sweep", script_data(view, curves)),
    ]
    return document(view.title, body, scripts=("drawing.js", "sweep.js"), styles=("page.css", "sweep.css"))


def _head(view: View) -> Html:
    count = f"{_counted(len(view.experiments), 'experiment')}, {_counted(view.runs, 'run')}"
    several = len(view.experiments) > 1
    order = f"; the best first, by the mean of {view.ranking} over finished runs" if view.ranking and several else ""
    left = sum(not point.listed for point in view.sweep.points) if view.sweep else 0
    more = f" {formats.count(left)} runs that the sweep no longer lists are left out." if left else ""
    command = tag("p", tag("code", view.sweep.command)) if view.sweep and view.sweep.command else None
    return tag("header", tag("h1", view.title), tag("p", f"{count}{order}.{more}"), command)


def _counted(count: int, what: str) -> str:
    return f"{formats.count(count)} {what}{'s' * (count != 1)}"


def _best(view: View) -> Html | None:
    """The best experiment, and which others cannot be told from it."""
    metric = view.ranking
    if metric is None or view.results[0].get(metric) is None:
        return tag("section", tag("p", "No run is finished yet: there are no results to rank."))
    shown: list[Html] = []
    for name in view.metrics:
        found = view.results[0][name]
        if found is not None:
            ends = f"{formats.number(found.low)} to {formats.number(found.high)}" if found.low is not None else ""
            of = f"n={found.n}" + (f"; 95 % interval {ends}" if ends else "")
            shown.append(tag("div", name, tag("b", formats.number(found.mean)), tag("span", of, class_="soft")))
    said = [tag("li", sentence) for sentence in _level(view, metric)]
    title = tag("h2", "The best: " if len(view.experiments) > 1 else "The result: ", view.names[0])
    return tag("section", title, tag("div", shown, class_="result"), tag("ul", said) if said else None)


def _level(view: View, metric: str) -> list[str]:
    """What the best is compared with the next, and with how many of the others it is level."""
    if len(view.experiments) < 2:
        return []
    best = view.experiments[0].results(metric)
    found = [difference(best, other.results(metric)) for other in view.experiments[1:]]
    first = verdict("the best", f"the next ({view.names[1]})", found[0], lower_is_better=lower_is_better(metric))
    level = [number for number, one in enumerate(found, 2) if one is not None and not one.sign]
    sentences = [f"{metric}: {first}."]
    if len(level) > 1:
        which = ", ".join(f"#{number}" for number in level[:12]) + (", ..." if len(level) > 12 else "")
        sentences.append(f"Not distinguishable from it, one by one: {which} ({len(level)} of {len(found)}).")
    if len(found) > 3:
        sentences.append("The best of many was chosen by these numbers: its own are likely a little too good.")
    return sentences


def _curves(view: View, curves: Curves) -> Html:
    if not curves:
        return tag("section", tag("h2", "Curves"), tag("p", "No run has a history yet."))
    metric = view.ranking if view.ranking in curves else next(iter(curves))
    assert metric is not None
    bundles = curves[metric]
    drawn = band_chart(bundles, label=f"{metric} of the best experiments: means, and bands from least to largest")
    keys = [
        tag("li", key(rank), f" {rank + 1}. {view.names[rank]}")
        for rank, bundle in enumerate(bundles[:SHOWN])
        if bundle is not None
    ]
    caption = tag("figcaption", tag("b", metric), " mean over seeds, band from the least to the largest")
    still = tag("figure", caption, drawn, tag("ul", keys, class_="keys"), class_="still")
    return tag("section", tag("h2", "Curves"), tag("div", still, id="curves"))


def _parallel(view: View) -> Html | None:
    if len(view.axes) + len(view.metrics) < 2 or len(view.experiments) < 2:
        return None
    hint = "Drag along an axis to keep a part of it, or move its ends with Tab and the arrow keys; tables, curves and "
    words = tag("p", f"{hint}plots show what is kept.", class_="hint soft", hidden=True)
    without = tag("noscript", tag("p", "Parallel coordinates need the script of this page."))
    room = tag("div", tag("div", id="parallel"), class_="wide")
    return tag("section", tag("h2", "Parallel coordinates"), words, without, room)


def _tables(view: View) -> Html:
    bar = tag("div", id="filter")
    folded = tag("details", tag("summary", f"Every run ({formats.count(view.runs)})"), runs_table(view))
    note = tag("p", "Mean ± deviation over the finished seeds (how many).", class_="soft")
    return tag("section", tag("h2", "Results"), bar, note, experiments_table(view), folded)


def _each(title: str, view: View, drawings: Any) -> Html | None:
    """Drawings for each main metric; the script shows those of one at a time."""
    parts = [(metric, drawings(view, metric)) for metric in _by_ranking(view)]
    shown = [tag("div", tag("h3", metric), drawn, data_metric=metric) for metric, drawn in parts if drawn]
    return tag("section", tag("h2", title), tag("div", shown, class_="by-metric")) if shown else None


def _by_ranking(view: View) -> list[str]:
    return sorted(view.metrics, key=lambda name: name != view.ranking)


def _axis_plots(view: View, metric: str) -> Content:
    plots = [
        tag("figure", tag("figcaption", tag("b", axis.key)), drawn)
        for axis in view.axes[:MOST_PLOTS]
        if (drawn := axis_plot(view, axis, metric)) is not None
    ]
    if not plots:
        return None
    words = (
        "Points are runs; the line is their mean at each value, over all other keys; dashes, the best experiment there."
    )
    return [tag("p", words, _left(len(view.axes), MOST_PLOTS), class_="soft"), tag("div", plots, class_="grid")]


def _heat_maps(view: View, metric: str) -> Content:
    maps = [
        tag("figure", tag("figcaption", tag("b", f"{heat.x.short} and {heat.y.short}")), heat_map(heat, metric))
        for heat in heats(view, metric)
    ]
    if not maps:
        return None
    better = "darker" if lower_is_better(metric) else "lighter"
    words = f"Means over all runs with both values; {better} is better, and an empty cell has no finished run."
    return [tag("p", words, _left(len(pairs_of(view)), MOST_MAPS), class_="soft"), tag("div", maps, class_="grid")]


def _left(count: int, most: int) -> str:
    return f" The first {most} of {count} are drawn." if count > most else ""


def _configuration(view: View) -> Html:
    varies = [[axis.key, ", ".join(axis.texts[:20]) + (", ..." if len(axis.texts) > 20 else "")] for axis in view.axes]
    table: Content = grid(["varies", "values"], varies, numbers_from=2) if varies else tag("p", "Nothing but the seed.")
    same = _common(view)
    base = [tag("h3", "The same in all"), facts(list(same.items())[:MOST_KEYS])] if same else None
    return tag("section", tag("h2", "Configuration"), table, base)


def _common(view: View) -> dict[str, str]:
    configs = [one.config for one in view.experiments if one.config]
    keys = dict.fromkeys(name for config in configs for name in config)
    told = {name: {value(config.get(name)) for config in configs} for name in keys}
    return {name: formats.clean(next(iter(values))) for name, values in told.items() if len(values) == 1}


def _where_from(view: View) -> Html | None:
    columns: list[Mapping[str, str]] = [facts_of(one.members) for one in view.experiments if one.known]
    if not columns:
        return None
    differing, same = apart(columns)
    rows = [[name, ", ".join(sorted(set(values)))] for name, values in differing.items()]
    apart_table = [tag("p", "Not the same in all:"), grid(["what", "values"], rows, numbers_from=2)] if rows else None
    return tag("section", tag("h2", "Where they come from"), facts(list(same.items())), apart_table)


def _foot(now: datetime | None) -> Html:
    moment = (now or datetime.now().astimezone()).strftime("%Y-%m-%d %H:%M")
    return tag("footer", tag("p", f"Made by shoal report from the runs' folders, {moment}."))
