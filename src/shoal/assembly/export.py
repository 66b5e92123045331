"""A trained run in forms that other programs read: weights as safetensors, the model as ONNX, a board for TensorBoard.

What is written is whole or absent. The forms that need no torch are in `pages`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from shoal.assembly.hushed import FAILURES, cause, hushed
from shoal.assembly.objects import Objects
from shoal.assembly.trained import blank_inputs, normalisation_of, recipe_of, trained_model
from shoal.assembly.weights import kept
from shoal.datasets import Normalisation
from shoal.errors import ExportError, InputError
from shoal.pages.export_targets import Targets, written
from shoal.pages.history_file import write_history
from shoal.rng import preserved
from shoal.store import RunFolder, record

LARGEST = 2**31
"""Bytes that one ONNX file can hold: a limit of protocol buffers."""


def export(
    folder: RunFolder,
    targets: Targets,
    objects: Objects = Objects(),
    *,
    which: str | None = None,
    force: bool,
    say: Callable[[str], None],
) -> None:
    """Write a run in every form that is wanted; `which` weights are raw, average or best, None those that count.

    Raises InputError, before anything is written, for a path that cannot be meant or would be overwritten, and for
    weights that the run does not have; StoreError for a run without weights; ExportError for a model that cannot be
    exported, or a disk that refuses.
    """
    targets.check(force=force)
    if which is not None and targets.weights is None and targets.onnx is None:
        raise InputError(f"which = {which}: it chooses the weights of --weights and --onnx: expected one of them.")
    with preserved():
        if targets.weights is not None or targets.onnx is not None:
            which, _ = kept(folder).chosen(which)
        if targets.weights is not None:
            write_weights(folder, targets.weights, which)
        if targets.onnx is not None:
            write_onnx(folder, targets.onnx, objects, which)
        if targets.history is not None:
            write_history(folder, targets.history)
        if targets.tensorboard is not None:
            _write_board(folder, targets.tensorboard, objects, say)


def write_weights(folder: RunFolder, path: Path, which: str | None = None) -> None:
    """Write the weights of a run that count, or those asked for, by the names of the state dict.

    The file says where they come from: its metadata have `run`, `weights` (raw, average or best), `signature`, `seed`,
    `recipe` (YAML), and `labels`, `normalisation` and `encoding` (how a raw input is read; JSON) where there are.
    """
    kind, chosen = kept(folder).chosen(which)
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in chosen.items()}
    content = save(tensors, {"format": "pt", "weights": kind, **origin(folder)})
    with written(path) as temporary:
        temporary.write_bytes(content)


def write_onnx(folder: RunFolder, path: Path, objects: Objects = Objects(), which: str | None = None) -> None:
    """Write a run's model with its weights as ONNX: `inputs` [batch, ...] to `outputs`, for any size of batch.

    It takes inputs as they are in the dataset, as float32 (tokens as int64), and normalises them itself.
    """
    _need_onnx()
    kind, _ = kept(folder).chosen(which)
    model = Raw(trained_model(folder, objects, normalised=False, weights=kind), normalisation_of(folder)).eval()
    if sum(value.nbytes for value in model.state_dict().values()) >= LARGEST:
        raise ExportError(f"{folder.label} cannot be exported: one ONNX file holds at most 2 GB. Export --weights.")
    program = _traced(folder, model, blank_inputs(folder))
    program.model.metadata_props.update({"weights": kind, **origin(folder)})
    with written(path) as temporary:
        program.save(str(temporary), external_data=False)


def origin(folder: RunFolder) -> dict[str, str]:
    """Return where an exported file comes from, and how to read its inputs and outputs, as texts."""
    facts = record.read(folder)
    data: dict[str, Any] = facts.get("data") or {}
    found = {
        "run": folder.label,
        "signature": str(facts.get("signature")),
        "seed": str(facts.get("seed")),
        "recipe": recipe_of(folder).to_yaml(),
    }
    return found | {key: json.dumps(data[key]) for key in ("labels", "normalisation", "encoding") if data.get(key)}


class Raw(nn.Module):
    """A model that takes inputs as they are in the dataset, its normalisation part of the graph."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, model: nn.Module, constants: Normalisation | None) -> None:
        super().__init__()
        self.model, self.normalises = model, constants is not None
        if constants is not None:
            self.register_buffer("mean", constants.mean)
            self.register_buffer("deviation", constants.deviation)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the model's outputs."""
        return self.model((inputs - self.mean) / self.deviation if self.normalises else inputs)


def _traced(folder: RunFolder, model: nn.Module, inputs: Tensor) -> Any:
    """The model as an ONNX program; what torch cannot follow becomes one sentence."""
    try:
        with hushed(), torch.no_grad():
            return torch.onnx.export(
                model,
                (inputs,),
                dynamo=True,
                verbose=False,
                input_names=["inputs"],
                output_names=["outputs"],
                dynamic_shapes=({0: torch.export.Dim("batch")},),
            )
    except FAILURES as error:
        raise ExportError(f"the model of {folder.label} cannot be exported as ONNX: {cause(error)}.") from error


def _need_onnx() -> None:
    try:
        for package in ("onnx", "onnxscript"):
            import_module(package)
    except ImportError as error:
        raise InputError(
            f"exporting as ONNX needs the package {error.name or 'onnx'}, which is not installed: "
            "pip install 'shoal[onnx]'."
        ) from error


def _write_board(folder: RunFolder, target: Path, objects: Objects, say: Callable[[str], None]) -> None:
    from shoal.assembly.board import write_board  # noqa: PLC0415 imports tensorboard, which takes 0.3 s

    try:
        write_board(target, folder, objects, say)
    except OSError as error:
        raise ExportError(
            f"cannot write the board of {folder.label} to {target}: {error.strerror or error}."
        ) from error
