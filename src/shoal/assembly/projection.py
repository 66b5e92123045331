"""What the last hidden layer makes of examples, for TensorBoard's projector: vectors, their labels, thumbnails.

The last hidden layer is what the last `nn.Linear` that is executed takes: found as it happens, by hooks.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal.assembly.event_file import proto
from shoal.assembly.hushed import FAILURES, cause
from shoal.assembly.pictures import are_pictures, png, sheet, shown
from shoal.datasets import Batch, Batches, Data
from shoal.errors import ExportError
from shoal.files import write_atomic
from shoal.pages.board_files import PROJECTOR, PROJECTOR_CONFIG
from shoal.pages.formats import clean

MOST = 1_000
"""Examples that are projected."""
THUMBNAIL = 32
"""Pixels of a side of a thumbnail, at most."""
NAME = "last hidden layer"


@dataclass(frozen=True)
class Projection:
    """Vectors [N, D] of the last hidden layer; N outputs, targets and inputs (normalised) of the same examples."""

    vectors: Tensor
    outputs: Tensor
    targets: Tensor
    inputs: Tensor


def project(model: nn.Module, batches: Batches) -> Projection | str:
    """Return the projection of the first MOST examples, or a sentence that says why there is none.

    The model is in eval mode, on the device of the batches, and takes them as they are.
    """
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor]] = []
    whole = cast("Generator[Batch]", batches.start())
    with closing(whole) as stream, torch.no_grad(), last_linear(model) as seen:
        for batch in islice(stream, batches.per_epoch):
            seen.clear()
            outputs = _outputs(model, batch.inputs)
            if not seen:
                return "the model has no nn.Linear, so there is no last hidden layer to project"
            if not isinstance(outputs, Tensor) or len(seen[-1]) != len(batch.inputs):
                return "the last nn.Linear does not take one vector an example"
            parts.append((seen[-1].flatten(1).float(), outputs, batch.targets, batch.inputs))
            if sum(len(part[0]) for part in parts) >= MOST:
                break
    return Projection(*(torch.cat(column)[:MOST].cpu() for column in zip(*parts, strict=True)))


def _outputs(model: nn.Module, inputs: Tensor) -> Any:
    """What the model returns; out of memory, say, is an ExportError."""
    try:
        return model(inputs)
    except FAILURES as error:
        raise ExportError(f"the model failed on {len(inputs)} valid examples: {cause(error)}.") from error


@contextmanager
def last_linear(model: nn.Module) -> Generator[list[Tensor]]:
    """Yield a list to which what the last `nn.Linear` executed took is written, in place of what was there."""
    seen: list[Tensor] = []

    def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        del module
        seen[:] = [arguments[0].detach()]

    handles = [part.register_forward_pre_hook(hook) for part in model.modules() if isinstance(part, nn.Linear)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def write(found: Projection, target: Path, data: Data) -> None:
    """Write the projection's files into `target`; the one that names the others comes last."""
    folder = target / PROJECTOR
    folder.mkdir(parents=True, exist_ok=True)
    config = proto("plugins.projector.projector_config_pb2").ProjectorConfig()
    embedding = config.embeddings.add()
    embedding.tensor_name = NAME
    embedding.tensor_path, embedding.metadata_path = f"{PROJECTOR}/vectors.tsv", f"{PROJECTOR}/metadata.tsv"
    vectors = cast("list[list[float]]", found.vectors.tolist())
    write_atomic(folder / "vectors.tsv", _tsv([[f"{value:.6g}" for value in row] for row in vectors]))
    write_atomic(folder / "metadata.tsv", _tsv(metadata(found, data.labels)))
    if are_pictures(data.input_shape):
        thumbnails = shown(found.inputs, data.normalisation, largest=THUMBNAIL)
        write_atomic(folder / "sprite.png", png(sheet(thumbnails)))
        embedding.sprite.image_path = f"{PROJECTOR}/sprite.png"
        embedding.sprite.single_image_dim.extend([thumbnails.shape[3], thumbnails.shape[2]])
    write_atomic(target / PROJECTOR_CONFIG, str(config))


def metadata(found: Projection, labels: Sequence[str] | None) -> list[list[str]]:
    """Return a header and one row an example: its target, what the model says where that is a class, its number."""
    whole = found.targets.ndim == 1 and not found.targets.is_floating_point()
    columns = {"label" if whole else "target": [_text(target, labels if whole else None) for target in found.targets]}
    if whole and found.outputs.ndim == 2:
        columns["predicted"] = [_text(guess, labels) for guess in found.outputs.argmax(1)]
    columns["example"] = [str(number) for number in range(len(found.targets))]
    return [list(columns), *([*row] for row in zip(*columns.values(), strict=True))]


def _text(value: Tensor, labels: Sequence[str] | None) -> str:
    """A target as one cell: the name of a class where it has one."""
    if value.ndim == 0 and labels is not None and 0 <= int(value) < len(labels):
        return clean(" ".join(labels[int(value)].split())) or str(int(value))
    return " ".join(f"{number:g}" for number in cast("list[float]", value.flatten().tolist()))


def _tsv(rows: Sequence[Sequence[str]]) -> str:
    with io.StringIO(newline="") as file:
        csv.writer(file, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None).writerows(rows)
        return file.getvalue()
