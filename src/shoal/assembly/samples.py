"""`samples/` of a run: what the weights that count predict, as plain files that a page shows without torch.

    samples.json      the split, the confusion matrix, predictions at fixed places, the worst mistakes (or, for other
                      targets, pairs, counts by label, the hardest blocks of a text)
    thumbnails.png    the inputs of those predictions, where they are pictures

They are a by-product: where the disk is full the run is finished without them, and a sentence says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from shoal.assembly.build import Workshop
from shoal.assembly.observers import Observer, is_picture, observer_for, preview
from shoal.assembly.thumbnails import sheet
from shoal.datasets import Data
from shoal.datasets.tokens import recorded
from shoal.errors import DataError
from shoal.files import to_json, write_atomic
from shoal.store import RunFolder

FORMAT = 1
FILE, THUMBNAILS = "samples.json", "thumbnails.png"


def observer(workshop: Workshop, split: str) -> Observer | None:
    """Return the observer of a split of a recipe's data; None for a stream that does not tell how long it is."""
    data = workshop.data
    if split not in data.sizes:
        return None
    several = workshop.recipe.task.name == "multilabel"
    return observer_for(data, total=data.sizes[split], multilabel=several, device=workshop.device)


def write(folder: RunFolder, seen: Observer, data: Data, *, split: str, weights: str = "raw") -> None:
    """Write what an observer of a split saw; nothing where it saw nothing that can be shown. May raise OSError.

    `weights` says which predicted: raw, best or average.
    """
    told = seen.told()
    if told is None:
        return
    head = {"format": FORMAT, "split": split, "weights": weights, "examples": data.sizes[split]}
    labels = list(data.labels) if data.labels else None
    pictures = _pictures(told, data)
    if told["kind"] == "classification":
        tiles = iter(range(len(told["some"]["index"]) + len(told["worst"].get("index", ()))))
        for name in ("some", "worst"):
            told[name] = _examples(told[name], tiles if pictures is not None else None, data)
    elif told["kind"] == "language_modelling":
        told["worst"] = _texts(told["worst"], data.encoding)
    folder.samples.mkdir(exist_ok=True)
    if pictures is not None:
        made = sheet(pictures)
        write_atomic(folder.samples / THUMBNAILS, made.png)
        place = {"width": made.width, "height": made.height, "across": made.across, "count": made.count}
        told["thumbnails"] = {"file": THUMBNAILS, **place}
    write_atomic(folder.samples / FILE, to_json(_rounded({**head, "labels": labels, **told})) + "\n")


def _pictures(told: Mapping[str, Any], data: Data) -> Tensor | None:
    """The inputs of all predictions that are shown, in order, as they were before they were normalised."""
    if told["kind"] != "classification" or not is_picture(data.input_shape):
        return None
    return _raw(torch.cat([told[name]["inputs"] for name in ("some", "worst") if told[name]]), data)


def _raw(inputs: Tensor, data: Data) -> Tensor:
    """Undo the normalisation of previews."""
    constants = data.normalisation
    if constants is None:
        return inputs
    mean, deviation = (
        preview(part.expand(data.input_shape).unsqueeze(0)) for part in (constants.mean, constants.deviation)
    )
    return inputs * deviation + mean


def _examples(rows: Mapping[str, Tensor], tiles: Iterator[int] | None, data: Data) -> list[dict[str, Any]]:
    """One mapping an example; with `tiles`, the number of its thumbnail, else the first numbers of its input."""
    if not rows:
        return []
    plain = {name: _list(values) for name, values in rows.items() if name != "inputs"}
    inputs = [None] * len(plain["index"]) if tiles is not None else _list(_raw(rows["inputs"], data))
    found: list[dict[str, Any]] = []
    for number, numbers in enumerate(inputs):
        shown = {"numbers": numbers} if tiles is None else {"tile": next(tiles)}
        found.append({**{name: values[number] for name, values in plain.items()}, **shown})
    return found


def _texts(rows: Mapping[str, Tensor], encoding: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The blocks as text, where their tokens can be; the bits of each token, where each is one letter."""
    decode = _decoder(encoding)
    found: list[dict[str, Any]] = []
    for number, tokens in enumerate(_list(rows["tokens"])):
        text = decode(tokens) if decode is not None else None
        lettered = "bits" in rows and text is not None and len(text) == len(tokens)
        bits = _list(rows["bits"][number]) if lettered else None
        loss = float(rows["loss"][number])
        found.append({"index": int(rows["index"][number]), "bits": loss / math.log(2), "text": text, "by_letter": bits})
    return found


def _list(values: Tensor) -> list[Any]:
    return cast("list[Any]", values.tolist())


def _decoder(encoding: Mapping[str, Any] | None) -> Callable[[Sequence[int]], str] | None:
    if encoding is None or encoding.get("kind") != "text":
        return None
    try:
        return recorded(encoding).decode
    except DataError:  # a tokenizer from Python, which the data do not carry
        return None


def _rounded(value: Any) -> Any:
    """Five digits are more than a page shows."""
    if isinstance(value, float):
        return float(f"{value:.5g}") if math.isfinite(value) else value
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in cast(Mapping[str, Any], value).items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_rounded(item) for item in cast(Sequence[Any], value)]
    return value
