"""A comparison as a page of `shoal compare`, and as what a notebook shows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from shoal.pages import formats
from shoal.pages.blocks import Block, Cell, Column, Grid, Heading, Lines, Pairs, plain, text_of
from shoal.pages.chosen import Item
from shoal.pages.comparison import Facts, Result, Setting, Verdict, as_data
from shoal.pages.markup import Html, tag
from shoal.pages.notebook import grid_html
from shoal.pages.report_facts import value
from shoal.pages.statuses import status

FEW = 3
"""Items up to which all metrics and all pairs are shown."""
LONGEST = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `shoal.compare` returns: it shows itself as a table; `verdicts` has the sentences, `data` everything."""

    facts: Facts

    @property
    def verdicts(self) -> list[str]:
        """One sentence for each main metric and pair: `test.accuracy: A is better than B by ...`."""
        return _sentences(self.facts)

    @property
    def data(self) -> dict[str, Any]:
        """Everything as plain data: what `shoal compare --json` prints."""
        return as_data(self.facts)

    def __repr__(self) -> str:
        return "\n".join(plain(blocks(self.facts)))

    def _repr_html_(self) -> str:
        return tag("div", [_html(block) for block in blocks(self.facts)])


def blocks(facts: Facts) -> list[Block]:
    """Return the page."""
    letters = [item.letter for item in facts.items]
    found: list[Block] = [
        Grid([Column(""), Column("runs"), Column("status")], [_item(item) for item in facts.items], header=False)
    ]
    found += [Heading("Recipe"), *_recipe(facts, letters), Heading("Where they come from")]
    if facts.sources:
        rows = [[name, *map(_short, values)] for name, values in facts.sources.items()]
        found.append(Grid([Column("what"), *map(Column, letters)], rows))
    found.append(Lines([line for line in (facts.patch, _same(facts)) if line]))
    found.append(Heading("Results"))
    if facts.results:
        found.append(_results(facts))
    else:
        found.append(Lines(["No run of them has a metric yet."]))
    if facts.verdicts or facts.notes:
        found += [Heading("What it means"), Lines([*_in_short(facts), *map(formats.clean, facts.notes)])]
    return found


def _results(facts: Facts) -> Grid:
    """All metrics of a few; of many the main ones, an item a row."""
    letters = [item.letter for item in facts.items]
    if len(letters) <= FEW:
        rows = [[formats.clean(name), *map(told, row)] for name, row in facts.results.items()]
        return Grid([Column("metric"), *map(Column, letters)], rows)
    columns = [[told(one) for one in facts.results[name]] for name in facts.main]
    heads = [Column(""), *(Column(formats.clean(name)) for name in facts.main)]
    return Grid(heads, [list(row) for row in zip(letters, *columns, strict=True)])


def _item(item: Item) -> list[str | Cell]:
    members = item.experiment.members
    if len(members) == 1:
        reason = members[0].summary.reason or ""
        said = status(members[0].summary.status)
        why = f": {formats.clean(reason).splitlines()[0]}" if reason and members[0].summary.status != "finished" else ""
        return [item.letter, formats.clean(item.title), Cell(_short(f"{said.text}{why}", 100), said.style)]
    counted: dict[str, int] = {}
    for member in members:
        counted[member.summary.status] = counted.get(member.summary.status, 0) + 1
    return [
        item.letter,
        formats.clean(item.title),
        ", ".join(f"{count} {status(word).text}" for word, count in counted.items()),
    ]


def _recipe(facts: Facts, letters: Sequence[str]) -> Iterable[Block]:
    if not facts.settings:
        return [Lines(["The recipes say the same."])]
    return [Grid([Column("key"), *map(Column, letters)], [_setting(one) for one in facts.settings])]


def _setting(one: Setting) -> list[str | Cell]:
    cells: list[str | Cell] = [formats.clean(one.key)]
    for found, kind in zip(one.values, one.kinds, strict=True):
        text = _short(formats.clean(value(found)))
        cells.append("-" if kind == "none" else f"{text} (default)" if kind == "default" else text)
    return cells


def told(one: Result) -> str:
    """Return a result: `0.9500 ± 0.0100 (n=5; 0.9376 to 0.9624)`; of one run, with the interval over its examples."""
    if one.mean is None:
        return "-" if one.so_far is None else f"{formats.number(one.so_far)} so far"
    mean, parts = formats.number(one.mean.mean), list[str]()
    if one.mean.deviation is not None:
        mean, parts = f"{mean} ± {formats.number(one.mean.deviation)}", [f"n={one.mean.n}"]
    if one.interval is not None:
        low, high = (formats.number(end) for end in one.interval)
        of = f", {formats.count(one.examples)} examples" if one.examples else ""
        parts.append(f"{low} to {high}{of}")
    return f"{mean} ({'; '.join(parts)})" if parts else mean


def _same(facts: Facts) -> str:
    named = [f"{name} {_short(found)}" for name, found in facts.same.items()]
    return f"The same in all: {'; '.join(named)}." if named else ""


def _in_short(facts: Facts) -> list[str]:
    """A sentence for each pair of a few; of many one for each metric, about the best of them."""
    if len(facts.items) <= FEW:
        return _sentences(facts)
    return [line for metric in facts.main if (line := _about_the_best(metric, facts.verdicts))]


def _about_the_best(metric: str, verdicts: Sequence[Verdict]) -> str:
    of = [one for one in verdicts if one.metric == metric and one.found is not None]
    better = [one.second for one in of if one.found is not None and one.found.sign]
    level = [one.second for one in of if one.second not in better]
    parts = [("better than", better), ("not distinguishable from", level)]
    told = [f"{words} {', '.join(letters)}" for words, letters in parts if letters]
    return f"{formats.clean(metric)}: {of[0].first} is first: {'; '.join(told)}" if of else ""


def _sentences(facts: Facts) -> list[str]:
    return [f"{formats.clean(one.metric)}: {one.words}" for one in facts.verdicts]


def _short(text: str, most: int = LONGEST) -> str:
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _html(block: Block) -> Html:
    match block:
        case Heading(text):
            return tag("h4", text)
        case Lines(lines):
            return tag("div", [tag("div", line) for line in lines])
        case Pairs(rows):
            return tag("div", [tag("div", f"{name} {text_of(found)}") for name, found in rows])
        case Grid():
            return grid_html(block)
