"""What happened in a run, in plain sentences computed from its record and history, with care.

A sentence is left out where there is too little to say it from. Trends are judged against the scatter of the values
about them, never by the last value alone; overfitting is said only where valid got clearly worse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.pages import formats
from shoal.pages.lenient import inner, real
from shoal.pages.series import MAIN, Point, Rows, lower_is_better, points
from shoal.pages.splits import AVERAGED, is_averaged
from shoal.pages.which_weights import average_name

FEWEST = 6
"""Evaluations from which a trend can be told."""
CLEAR = 3.0
"""A trend counts where it is this many standard errors from none."""
SMALLEST = 0.02
"""... and where it is this share of all that the metric changed by."""
WORSE = 0.05
"""Valid loss above its lowest by this share is overfitting, where it is also clear of its scatter: the lowest of many
values lies below their level by two or three deviations anyway."""
LOW_RATE = 0.05
"""A learning rate below this share of its highest changes little more."""
LARGEST = 1e100
"""What is larger has no place in a sum of squares, nor has what is not finite."""


def findings(known: Mapping[str, Any], rows: Rows, *, ended: bool = True) -> list[str]:
    """Return the sentences for a run's record and the rows of its history; of one that goes on, in the present."""
    metric = _main(known, rows)
    said = [
        _best(metric, rows, ended=ended),
        _trend(metric, rows, ended=ended),
        _rate_left(metric, rows),
        _overfitting(rows),
        _gap(rows),
        _averaged(known),
        _tested(known),
        _gaps(rows),
    ]
    return [sentence for sentence in said if sentence]


def _main(known: Mapping[str, Any], rows: Rows) -> str:
    """The metric that a run is judged by: the one it kept its best weights by, else the one that says most.

    Of averaged weights, where there are any: they are those that count.
    """
    kept = inner(known, "best").get("metric")
    names = {key for row in rows for key in row}
    if isinstance(kept, str) and kept in names:
        return kept
    wanted = [f"{split}.{name}" for split in (f"valid{AVERAGED}", "valid", "train") for name in MAIN]
    return next((name for name in wanted if name in names), "")


def _finite(rows: Rows, name: str) -> list[Point]:
    return [point for point in points(rows, name) if abs(point[1]) < LARGEST]


def _best(metric: str, rows: Rows, *, ended: bool) -> str:
    found = _finite(rows, metric)
    if not found:
        return ""
    shown, last = formats.clean(metric), found[-1]
    step, best = (min if lower_is_better(metric) else max)(found, key=lambda point: point[1])
    if len(found) == 1:
        return f"{shown} was measured once: {formats.number(best)} at step {formats.count(int(step))}."
    place = f"at step {formats.count(int(step))}{_epoch(rows, step)}"
    if best == last[1]:
        since = "" if step == last[0] else f", which it had reached {place}"
        return f"{shown} {'ended' if ended else 'is'} at its best value, {formats.number(best)}{since}."
    now = "It ended at" if ended else "It is now at"
    return f"{shown} was best {place}: {formats.number(best)}. {now} {formats.number(last[1])}."


def _epoch(rows: Rows, step: float) -> str:
    epochs = [real(row.get("epoch")) for row in rows if row.get("step") == step]
    known = [epoch for epoch in epochs if epoch is not None]
    return f" (epoch {known[0]:.4g})" if known else ""


def _trend(metric: str, rows: Rows, *, ended: bool) -> str:
    found = _finite(rows, metric)
    if len(found) < FEWEST:
        return f"{len(found)} evaluations are too few to tell a trend." if len(found) > 1 else ""
    direction = trend(found[-max(4, len(found) // 3) :], span=_span(found))
    name = formats.clean(metric)
    if direction == 0:
        return f"Over the last third of the evaluations {name} neither rose nor fell beyond its scatter."
    better = (direction < 0) == lower_is_better(metric)
    if not ended:
        return f"{name} is {'improving' if better else 'getting worse'}."
    return (
        f"{name} was still improving at the end: more steps may help."
        if better
        else f"{name} was getting worse at the end."
    )


def _span(found: Sequence[Point]) -> float:
    values = [value for _, value in found]
    return max(values) - min(values)


def trend(last: Sequence[Point], *, span: float) -> int:
    """Return 1 for values that rise, -1 for values that fall, 0 where neither is clear.

    A line is fitted; its slope must be clear of the scatter about it, and its change a share of `span`, all that the
    values changed by.

    >>> trend([(0, 1.0), (1, 0.8), (2, 0.61), (3, 0.4)], span=1.0), trend([(0, 1.0), (1, 1.1), (2, 1.0)], span=1.0)
    (-1, 0)
    """
    count = len(last)
    if count < 3 or not span > 0:
        return 0
    mean_x, mean_y = sum(x for x, _ in last) / count, sum(y for _, y in last) / count
    spread = sum((x - mean_x) ** 2 for x, _ in last)
    if not spread > 0:
        return 0
    slope = sum((x - mean_x) * (y - mean_y) for x, y in last) / spread
    left = sum((y - mean_y - slope * (x - mean_x)) ** 2 for x, y in last)
    error = math.sqrt(left / (count - 2) / spread)
    change = slope * (last[-1][0] - last[0][0])
    if abs(slope) <= CLEAR * error or abs(change) <= SMALLEST * span:
        return 0
    return 1 if slope > 0 else -1


def _rate_left(metric: str, rows: Rows) -> str:
    found, rates = _finite(rows, metric), _finite(rows, "lr")
    if len(found) < FEWEST or len(rates) < 2:
        return ""
    highest, last = max(value for _, value in rates), rates[-1][1]
    if not 0 <= last < LOW_RATE * highest:
        return ""
    share = "nothing" if last == 0 else formats.number(last)
    return (
        f"The learning rate had fallen from {formats.number(highest)} to {share} by then, so the weights hardly moved."
    )


def _overfitting(rows: Rows) -> str:
    valid, train = _finite(rows, "valid.loss"), _finite(rows, "train.loss")
    if len(valid) < FEWEST or len(train) < FEWEST:
        return ""
    step, lowest = min(valid, key=lambda point: point[1])
    after = [point for point in valid if point[0] >= step]
    tail = after[-max(3, len(after) // 3) :]
    level = sum(value for _, value in tail) / len(tail)
    scatter = math.sqrt(sum((value - level) ** 2 for _, value in tail) / (len(tail) - 1)) if len(tail) > 1 else math.inf
    clear = level - lowest > max(WORSE * abs(lowest), CLEAR * scatter)
    falling = train[-1][1] < next((value for at, value in train if at >= step), train[-1][1])
    if len(after) < 4 or not clear or not falling:
        return ""
    return (
        f"The network overfits: valid.loss was lowest, {formats.number(lowest)}, at step {formats.count(int(step))} "
        f"and rose to about {formats.number(level)}, while train.loss fell to {formats.number(train[-1][1])}. "
        "Fewer steps, best.metric, more regularisation or more data would help."
    )


def _gap(rows: Rows) -> str:
    for name in ("accuracy", "loss"):
        train, valid = _finite(rows, f"train.{name}"), _finite(rows, f"valid.{name}")
        if train and valid:
            first, second = train[-1][1], valid[-1][1]
            apart = f", {abs(first - second) * 100:.1f} points apart" if name == "accuracy" else ""
            return (
                f"At the end {name} was {formats.number(first)} on train (measured as the weights changed) and "
                f"{formats.number(second)} on valid{apart}."
            )
    return ""


def _averaged(known: Mapping[str, Any]) -> str:
    """Which weights the result is of; where both were measured, how averaged ones compare."""
    best = inner(known, "best")
    if best.get("metric") is not None:
        whose = "averaged weights" if is_averaged(str(best["metric"])) else "the weights"
        return f"The result is that of the best: {whose} of step {formats.number(best.get('step'))}."
    metrics = inner(known, "metrics")
    pairs = [(f"{split}.{name}", f"{split}{AVERAGED}.{name}") for split in ("test", "valid") for name in MAIN]
    known_pairs = (pair for pair in pairs if all(real(metrics.get(name)) is not None for name in pair))
    shown = next(known_pairs, None)
    if shown is None:
        return ""
    name = average_name(known)
    last, averaged = (formats.number(metrics[key]) for key in shown)
    return (
        f"Averaged weights{f' ({name})' if name else ''} predict and are exported: {shown[0]} is {averaged} with them, "
        f"and {last} with the last weights as they are."
    )


def _tested(known: Mapping[str, Any]) -> str:
    metrics, data = inner(known, "metrics"), inner(known, "data")
    averaged = f"test{AVERAGED}.accuracy" in metrics
    share = metrics.get(f"test{AVERAGED}.accuracy" if averaged else "test.accuracy")
    size, whose = inner(data, "sizes").get("test"), " with averaged weights" if averaged else ""
    single = data.get("target_shape") == [] and data.get("classes") is not None
    if not (
        single and isinstance(share, int | float) and isinstance(size, int) and 0 < size < LARGEST and 0 <= share <= 1
    ):
        return ""
    low, high = interval(share, size)
    return (
        f"On the {formats.count(size)} examples of test, accuracy was {formats.number(float(share))}{whose}; another "
        f"test set of that size could as well have given {low:.3f} to {high:.3f} (95 % interval)."
    )


def interval(share: float, size: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was measured on `size` examples (Wilson, 1927, JASA 22, 209).

    >>> [round(end, 4) for end in interval(0.9, 100)]
    [0.8256, 0.9448]
    """
    z = 1.959964
    centre = (share + z * z / (2 * size)) / (1 + z * z / size)
    reach = z / (1 + z * z / size) * math.sqrt(share * (1 - share) / size + z * z / (4 * size * size))
    return max(0.0, centre - reach), min(1.0, centre + reach)


def _gaps(rows: Rows) -> str:
    broken = sorted({key for row in rows for key, value in row.items() if "." in key and value is None})
    if not broken:
        return ""
    return f"Not finite at some steps, and left out of the curves there: {', '.join(map(formats.clean, broken))}."
