"""The part of a page about single predictions: confusion matrix, samples, worst mistakes, and what else."""

from __future__ import annotations

import math
from collections.abc import Sequence

from shoal.errors import StoreError
from shoal.pages import formats
from shoal.pages.confusion import confused_most, confusion_table, short
from shoal.pages.markup import Content, Html, joined, tag
from shoal.pages.sample_files import Block, Classified, Example, Labelled, Regressed, Samples, Sheet, read_samples
from shoal.pages.scatter import scatter
from shoal.pages.tables import grid
from shoal.store import RunFolder

LEVELS = (2.0, 4.0, 6.0, 8.0)
"""Bits from which a letter is shaded more."""
MOST_ROWS = 100
BESIDE = 16
"""Classes up to which the confusion matrix leaves room beside it."""


def predictions(folder: RunFolder) -> Html:
    """Return the section, or a sentence that says why there is none."""
    try:
        samples = read_samples(folder)
    except StoreError as error:
        return _section(tag("p", f"The samples of this run cannot be shown: {error}"))
    if samples is None:
        return _section(tag("p", "This run has no samples/: they are written when a training ends."))
    return _section(_whose(samples.weights), _shown(samples))


def _whose(weights: str) -> Html | None:
    """Which weights predicted, where they are not simply the last."""
    words = {"best": "the best weights", "average": "the averaged weights"}.get(weights)
    return tag("p", f"Made by {words}.", class_="soft") if words else None


def _shown(samples: Samples) -> Content:
    shown = samples.shown
    of = f"Of the {formats.count(samples.examples)} examples of {formats.clean(samples.split)}"
    match shown:
        case Classified():
            return _classified(shown, samples, of)
        case Regressed():
            return _regressed(shown, samples.split)
        case Labelled():
            return _labelled(shown, of)
        case _:
            return _blocks(shown, samples.split)


def _section(*contents: Content) -> Html:
    return tag("section", tag("h2", "Predictions"), contents)


def _classified(shown: Classified, samples: Samples, of: str) -> Html:
    wrong = f"{of}, {formats.count(shown.wrong)} {'is' if shown.wrong == 1 else 'are'} classified wrongly."
    parts: list[Content] = []
    if shown.sheet is not None:
        parts.append(_sheet(shown.sheet))
    words = confused_most(shown.confusion, shown.labels) if shown.confusion is not None else ""
    parts.append(tag("p", f"{wrong} {words}"))
    matrix = _matrix(shown)
    if shown.worst:
        title = f"The {len(shown.worst)} mistakes with the largest loss" if len(shown.worst) > 1 else "The one mistake"
        worst = _gallery(title, shown.worst, shown)
        parts.append(tag("div", matrix, worst, class_="columns") if shown.classes <= BESIDE else [matrix, worst])
    else:
        parts.append(matrix)
    places = f"{len(shown.some)} examples, spread evenly over {formats.clean(samples.split)}"
    parts.append(_gallery(places, shown.some, shown))
    return joined(parts)


def _matrix(shown: Classified) -> Html:
    if shown.confusion is None:
        words = f"With {formats.count(shown.classes)} classes there is no confusion matrix."
        return tag("p", words, class_="soft")
    return tag("div", tag("h3", "Confusion matrix"), confusion_table(shown.confusion, shown.labels))


def _gallery(title: str, examples: Sequence[Example], shown: Classified) -> Html:
    return tag("div", tag("h3", title), tag("div", [_example(one, shown) for one in examples], class_="samples"))


def _example(example: Example, shown: Classified) -> Html:
    right = example.target == example.prediction
    target, said = _label(example.target, shown), _label(example.prediction, shown)
    if right:
        words: Content = tag("span", f"{target}, right ({_share(example.p_target)})")
    else:
        words = joined(
            tag("span", f"{said} ({_share(example.p_prediction)})", class_="wrong"),
            tag("br"),
            f"is {target} ({_share(example.p_target)})",
        )
    caption = tag("figcaption", words, tag("br"), tag("span", f"no. {example.index}", class_="soft"))
    loss = f"loss {formats.number(example.loss)}"
    return tag("figure", _input(example, shown.sheet, f"example {example.index}: {target}"), caption, title=loss)


def _label(number: int, shown: Classified) -> str:
    return short(shown.labels[number]) if 0 <= number < len(shown.labels) else str(number)


def _share(probability: float) -> str:
    if not math.isfinite(probability):
        return "?"
    percent = probability * 100
    return "<0.1\xa0%" if 0 < percent < 0.1 else ">99.9\xa0%" if 99.9 < percent < 100 else f"{percent:.3g}\xa0%"


def _input(example: Example, sheet: Sheet | None, label: str) -> Html | None:
    if example.tile is not None:
        return tile(sheet, example.tile, label) if sheet is not None and 0 <= example.tile < sheet.count else None
    if example.numbers:
        return tag("div", " ".join(formats.number(number) for number in example.numbers), class_="numbers")
    return None


def _sheet(sheet: Sheet) -> Html:
    """The sheet of thumbnails, once: every picture shows a part of it."""
    width, height = sheet.across * sheet.width, -(-sheet.count // sheet.across) * sheet.height
    image = tag("image", id="sheet", href=sheet.uri, width=width, height=height)
    return tag("svg", tag("defs", image), class_="sheet", aria_hidden="true")


def tile(sheet: Sheet, number: int, label: str) -> Html:
    """Return one picture of the sheet."""
    left, top = number % sheet.across * sheet.width, number // sheet.across * sheet.height
    box = f"{left} {top} {sheet.width} {sheet.height}"
    return tag("svg", tag("use", href="#sheet"), viewBox=box, role="img", aria_label=label)


def _regressed(shown: Regressed, split: str) -> Html:
    titles = [
        f"{formats.clean(split)}: predictions" + (f" of value {at + 1} of {shown.columns}" if shown.columns > 1 else "")
        for at in range(len(shown.pairs))
    ]
    figures = [scatter(pairs, title=title) for pairs, title in zip(shown.pairs, titles, strict=True)]
    return tag("div", figures, class_="grid")


def _labelled(shown: Labelled, of: str) -> Html:
    order = sorted(range(len(shown.counts)), key=lambda at: -sum(shown.counts[at][1:]))
    rows = [[short(shown.labels[at]), *_counts(*shown.counts[at])] for at in order[:MOST_ROWS]]
    more = f" The {MOST_ROWS} labels with the most errors are shown." if len(order) > MOST_ROWS else ""
    titles = ["label", "found", "wrongly found", "missed", "precision", "recall", "F1"]
    return joined(tag("p", f"{of}, the labels with the most errors first.{more}"), grid(titles, rows))


def _counts(tp: int, fp: int, fn: int) -> list[str]:
    shares = [(tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn)]
    return [
        *(formats.count(number) for number in (tp, fp, fn)),
        *(formats.number(part / whole) if whole else formats.NOTHING for part, whole in shares),
    ]


def _blocks(blocks: Sequence[Block], split: str) -> Html:
    note = f"The blocks of {formats.clean(split)} that were hardest to foresee. A darker letter took more bits."
    shaded = any(block.by_letter for block in blocks)
    return joined(tag("p", note if shaded else note.partition(". ")[0] + "."), [_block(block) for block in blocks])


def _block(block: Block) -> Html:
    title = f"block {block.index}: {formats.number(block.bits)} bits a token"
    if block.text is None:
        return tag("p", title)
    text: Content = block.text
    if block.by_letter is not None:
        text = [_letter(letter, bits) for letter, bits in zip(block.text, block.by_letter, strict=True)]
    return tag("figure", tag("figcaption", title), tag("pre", text, class_="text"))


def _letter(letter: str, bits: float) -> Content:
    level = sum(bits >= limit for limit in LEVELS)
    return tag("i", letter, class_=f"b{level}") if level else letter
