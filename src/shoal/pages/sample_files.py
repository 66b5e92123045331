"""`samples/` of a run, read back and checked: what a page shows of predictions. Nothing here needs torch."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from shoal.errors import StoreError, other_format
from shoal.pages.lenient import real, rows_of
from shoal.pages.series import Point
from shoal.store import RunFolder

NAME = "samples.json"
FORMAT = 1
MOST_BYTES = 2_000_000
"""A larger file is none of ours."""
MOST_CLASSES = 1 << 20
"""More classes than any run has."""


@dataclass(frozen=True)
class Example:
    """One prediction: which example, what it is, what was said, how sure, and its picture or first numbers."""

    index: int
    target: int
    prediction: int
    p_target: float
    p_prediction: float
    loss: float
    tile: int | None = None
    numbers: Sequence[float] | None = None


@dataclass(frozen=True)
class Sheet:
    """The thumbnails: a PNG file as a data URI, and how its tiles lie."""

    uri: str
    width: int
    height: int
    across: int
    count: int


@dataclass(frozen=True)
class Classified:
    """Predictions of classes."""

    classes: int
    labels: Sequence[str]
    wrong: int
    confusion: Sequence[Sequence[int]] | None
    some: Sequence[Example]
    worst: Sequence[Example]
    sheet: Sheet | None


@dataclass(frozen=True)
class Regressed:
    """Pairs of target and prediction, a list for each column that is shown, of `columns`."""

    columns: int
    pairs: Sequence[Sequence[Point]]


@dataclass(frozen=True)
class Labelled:
    """How often each of several labels was found, wrongly found, missed."""

    labels: Sequence[str]
    counts: Sequence[tuple[int, int, int]]


@dataclass(frozen=True)
class Block:
    """A block of text that was hard to foresee: bits a token, and those of each letter where they are known."""

    index: int
    bits: float | None
    text: str | None
    by_letter: Sequence[float] | None


@dataclass(frozen=True)
class Samples:
    """What `samples/` holds; `weights` are those that predicted (raw, best or average), where it is told."""

    split: str
    examples: int
    shown: Classified | Regressed | Labelled | Sequence[Block]
    weights: str = ""


def read_samples(folder: RunFolder) -> Samples | None:
    """Return what `samples/` holds, None where there is none; raises StoreError for what cannot be read."""
    path = folder.samples / NAME
    try:
        with path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    try:
        return _parsed(folder, content)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        raise StoreError(f"{path} is damaged, or of another version: {type(error).__name__}: {error}.") from error


def _parsed(folder: RunFolder, content: bytes) -> Samples:
    if len(content) > MOST_BYTES:
        raise ValueError("it is too large")
    told: dict[str, Any] = json.loads(content)
    written = told["format"]
    if type(written) is not int:
        raise ValueError("it does not say its format")
    if written != FORMAT:
        raise StoreError(f"{folder.samples / NAME} is {other_format(written, FORMAT)}.")
    kinds = {
        "classification": lambda: _classified(folder, told),
        "regression": lambda: Regressed(int(told["columns"]), [_pairs(column) for column in told["pairs"]]),
        "multilabel": lambda: _labelled(told),
        "language_modelling": lambda: [_block(row) for row in rows_of(told, "worst")],
    }
    weights = str(told.get("weights") or "")
    return Samples(str(told["split"]), int(told["examples"]), kinds[told["kind"]](), weights)


def _classified(folder: RunFolder, told: dict[str, Any]) -> Classified:
    classes = int(told["classes"])
    if not 0 <= classes <= MOST_CLASSES:
        raise ValueError(f"it says that there are {classes:,} classes")
    matrix = told.get("confusion")
    if matrix is not None:
        matrix = [[int(count) for count in row] for row in matrix]
        if {classes} != {len(matrix), *map(len, matrix)}:
            raise ValueError("the confusion matrix has another size than the classes")
    return Classified(
        classes=classes,
        labels=_labels(told, classes),
        wrong=int(told["wrong"]),
        confusion=matrix,
        some=[_example(row) for row in rows_of(told, "some")],
        worst=[_example(row) for row in rows_of(told, "worst")],
        sheet=_sheet(folder, told.get("thumbnails")),
    )


def _labels(told: dict[str, Any], count: int) -> list[str]:
    """The names of the classes; their numbers where there are none, or not one each."""
    names = cast(list[Any], told.get("labels") or [])
    return [str(name) for name in names] if len(names) == count else [str(number) for number in range(count)]


def _example(row: dict[str, Any]) -> Example:
    numbers = row.get("numbers")
    return Example(
        index=int(row["index"]),
        target=int(row["target"]),
        prediction=int(row["prediction"]),
        p_target=_real(row["p_target"]),
        p_prediction=_real(row["p_prediction"]),
        loss=_real(row["loss"]),
        tile=row.get("tile") if isinstance(row.get("tile"), int) else None,
        numbers=[_real(number) for number in cast(list[Any], numbers)] if isinstance(numbers, list) else None,
    )


def _real(value: object) -> float:
    """A number; null is how a value that is not finite is written."""
    found = real(value)
    return float("nan") if found is None else found


def _pairs(column: Any) -> list[Point]:
    return [(_real(target), _real(prediction)) for target, prediction in column]


def _labelled(told: dict[str, Any]) -> Labelled:
    counts = [(int(tp), int(fp), int(fn)) for tp, fp, fn in zip(told["tp"], told["fp"], told["fn"], strict=True)]
    return Labelled(_labels(told, len(counts)), counts)


def _block(row: dict[str, Any]) -> Block:
    text, letters = row.get("text"), row.get("by_letter")
    known = [_real(bits) for bits in cast(list[Any], letters)] if isinstance(letters, list) else None
    whole = known is not None and isinstance(text, str) and len(text) == len(known)
    return Block(int(row["index"]), real(row.get("bits")), text, known if whole else None)


def _sheet(folder: RunFolder, place: dict[str, Any] | None) -> Sheet | None:
    """The thumbnails; none where their file is missing or is no PNG."""
    if place is None:
        return None
    try:
        content = (folder.samples / "thumbnails.png").read_bytes()
    except OSError:
        return None
    if not content.startswith(b"\x89PNG\r\n\x1a\n") or len(content) > MOST_BYTES:
        return None
    uri = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    width, height, across, count = (int(place[key]) for key in ("width", "height", "across", "count"))
    if min(width, height, across, count) < 1:
        raise ValueError("the thumbnails have no size")
    return Sheet(uri, width, height, across, count)
