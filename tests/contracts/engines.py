"""Engines from recipes, for what every execution has to go through: built, stepped, looked into, saved as bytes."""

from __future__ import annotations

import io
from itertools import islice
from typing import Any, cast

import torch
from torch import Tensor

from shoal.assembly import Workshop
from shoal.checkpoints import plain
from shoal.datasets import START, Position
from shoal.recipe import parse
from shoal.training import SoloEngine
from shoal.training.plan import Plan

SMALL: dict[str, Any] = {
    "batch_size": 16,
    "model": {"name": "mlp", "width": 12, "norm": "batch"},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "budget": {"steps": 50},
}


def engine_of(keys: dict[str, Any], execution: str) -> tuple[SoloEngine, Workshop]:
    """Return the engine of a recipe under an execution, which must not fall back to another."""
    work = Workshop(parse(keys))
    work.check()
    said: list[str] = []
    step = work.stepping.step(execution, said.append)
    assert said == []
    assert step.execution == execution
    plan = Plan("solo", execution, "cpu", torch.get_num_threads(), str(torch.__version__))
    return work.engine(plan, step), work


def train(engine: SoloEngine, work: Workshop, count: int, at: Position = START) -> None:
    """Perform so many steps from a position on."""
    rows = engine.upload(work.hypers.block(at.step, at.step + count))
    for hyper, batch in zip(rows, islice(work.batches.start(at), count), strict=True):
        engine.step(batch, hyper)


def ended(engine: SoloEngine) -> dict[str, Tensor]:
    """Return every tensor of a run by name: weights, average, slots."""
    state: dict[str, Any] = plain(engine.state_dict())
    found = {f"weights.{name}": value for name, value in {**state["parameters"], **state["buffers"]}.items()}
    for name, value in (state["average"]["kept"] or {}).items():
        found[f"average.{name}"] = value
    for name, slots in state["optimizer"].items():
        found |= {f"{name}.{slot}": value for slot, value in slots.items() if isinstance(value, Tensor)}
    return found


def saved(engine: SoloEngine) -> bytes:
    """Return all of an engine's state as the bytes of a checkpoint."""
    buffer = io.BytesIO()
    torch.save(plain(engine.state_dict()), buffer)
    return buffer.getvalue()


def loaded(content: bytes) -> dict[str, Any]:
    """Return a state from the bytes of a checkpoint, read as checkpoints are."""
    return cast("dict[str, Any]", torch.load(io.BytesIO(content), weights_only=True))


def position(work: Workshop, step: int) -> Position:
    """Return where a training stands after so many steps."""
    epoch, batch = divmod(step, work.batches.per_epoch)
    return Position(epoch, batch, step)
