"""Numbers, times and foreign text as people read them: units, the right number of digits, nothing that acts."""

from __future__ import annotations

import math
import re
from datetime import datetime
from typing import Any

from shoal.files import UNSEEN

NOTHING = "-"
_ACTIVE = re.compile(rf"[\x00-\x1f]|{UNSEEN.pattern}")
"""Control characters, those that turn the direction of text, and halves of characters that cannot be printed."""


def clean(text: object, *, keep: str = "") -> str:
    r"""Return text from a run with every character that could act on a terminal shown as its code.

    >>> clean("\x1b[31mred")
    '\\x1b[31mred'
    """
    return _ACTIVE.sub(lambda found: found[0] if found[0] in keep else _code(found[0]), str(text))


def _code(character: str) -> str:
    point = ord(character)
    return f"\\x{point:02x}" if point < 256 else f"\\u{point:04x}"


def number(value: Any) -> str:
    """Return a metric or hyperparameter with four digits that matter.

    >>> [number(v) for v in (0.98611, 1.2e-05, 12.3456, 1234.5, 7, None, float("nan"))]
    ['0.9861', '1.2e-05', '12.35', '1,234', '7', '-', 'nan']
    """
    if not isinstance(value, int | float) or isinstance(value, bool):
        return NOTHING if value is None else clean(value)
    if isinstance(value, int):
        return count(value)
    if not math.isfinite(value):
        return str(value)
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e7):
        return f"{value:.3g}"
    if size < 1:
        return f"{value:.4f}"
    rounded = float(f"{size:.4g}")
    return f"{value:,.{max(0, 3 - int(math.log10(rounded)))}f}"


def measure(value: float) -> str:
    """Return a metric with four decimals, so that those of many lines stand under each other; a huge one is short.

    >>> [measure(v) for v in (0.98611, 12.0, 1.5e29, float("nan"))]
    ['0.9861', '12.0000', '1.5e+29', 'nan']
    """
    return f"{value:.4f}" if abs(value) < 1e6 or not math.isfinite(value) else f"{value:.4g}"


def count(value: int | None) -> str:
    """Return a whole number with thousands apart.

    >>> count(12570)
    '12,570'
    """
    return NOTHING if value is None else f"{value:,}"


def duration(seconds: float | None) -> str:
    """Return a time span with its two largest units.

    >>> [duration(v) for v in (0.042, 4.2, 72, 7512, 273600, None)]
    ['0.04 s', '4.2 s', '1 m 12 s', '2 h 05 m', '3 d 04 h', '-']
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 59.5:
        return f"{seconds:.2f} s" if seconds < 1 else f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, smaller, name, smaller_name in ((86400, 3600, "d", "h"), (3600, 60, "h", "m")):
        if whole >= unit:
            return f"{whole // unit} {name} {whole % unit // smaller:02d} {smaller_name}"
    return f"{whole // 60} m {whole % 60:02d} s"


def moment(seconds: float | None) -> str:
    """Return a short time with three digits.

    >>> [moment(v) for v in (4.2e-7, 1.43e-4, 0.01234, 0.9999, 2.5, None)]
    ['0.42 µs', '143 µs', '12.3 ms', '1 s', '2.5 s', '-']
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    value, units = seconds * 1e6, ("µs", "ms")
    for unit in units:
        if value < 999.5:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} s" if value < 999.5 else f"{value:,.0f} s"


def ago(moment: str | None, now: datetime) -> str:
    """Return how long before `now` an ISO 8601 moment was, in its largest unit.

    >>> ago("2026-01-01T10:00:00Z", datetime.fromisoformat("2026-01-01T12:59:00Z"))
    '2 h ago'
    """
    if moment is None:
        return NOTHING
    try:
        seconds = (now - datetime.fromisoformat(moment).astimezone()).total_seconds()
    except (ValueError, OverflowError):
        return clean(moment)
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= unit:
            return f"{int(seconds // unit)} {name} ago"
    return "now"


def when(moment: str | None) -> str:
    """Return an ISO 8601 moment as local date and time, to the minute."""
    if moment is None:
        return NOTHING
    try:
        return datetime.fromisoformat(moment).astimezone().strftime("%Y-%m-%d %H:%M")
    except (ValueError, OverflowError, TypeError):
        return clean(moment)
