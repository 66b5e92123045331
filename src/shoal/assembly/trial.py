"""A trial of code that is not Shoal's own: the first batch through model, loss and metrics, before anything is written.

A forward that is missing, or shapes that do not fit, are found here and not after a folder was made. In eval mode and
without gradients; what is computed in fewer bits is tried as it is trained too, on a copy, for some layers lack it only
there. The caller keeps the random state. Shipped parts are tested against each other and need no trial.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from shoal.datasets import Data, Examples, Stream
from shoal.datasets.reading import Address, Reader
from shoal.datasets.stream_batches import read
from shoal.errors import RecipeError, ShoalError, TrainingError, place_of, said
from shoal.tasks import Task, check_loss
from shoal.training.precision import Precision, as_float32, autocasting
from shoal.training.trial import NotRecordableError, double
from shoal.training.weights import evaluating

T = TypeVar("T")


def attempt(
    model: nn.Module, task: Task, batch: tuple[Tensor, Tensor], *, device: torch.device, precision: Precision = "fp32"
) -> None:
    """Raise RecipeError where the model cannot take a batch (inputs, targets), or the loss and metrics its outputs."""
    inputs, targets = batch[0].to(device), batch[1].to(device)
    computed = "" if precision == "fp32" else f" in {precision}"
    if precision in ("bf16", "fp16"):
        _attempt_in_training(model, inputs, precision, device)
    with torch.no_grad(), evaluating(model):
        with autocasting(precision, device):
            outputs: Any = _run(
                lambda: model(inputs), f"the model failed{computed} on inputs of shape {_shape(inputs)}"
            )
        _check_outputs(outputs, len(inputs))
        outputs = as_float32(outputs)
        fed = f"on outputs of shape {_shape(outputs)} and targets of shape {_shape(targets)}"
        wide = f" The task expects {task.outputs} outputs an example." if outputs.shape[1:] != (task.outputs,) else ""
        _check_loss(_run(lambda: task.loss(outputs, targets), f"the loss failed {fed}", wide), len(inputs))
        for name, metric in task.metrics.items():
            _run(lambda: metric.statistics(outputs, targets), f"the metric {name} failed {fed}", wide)  # noqa: B023 called now


def _attempt_in_training(model: nn.Module, inputs: Tensor, precision: Precision, device: torch.device) -> None:
    with suppress(NotRecordableError), torch.enable_grad(), autocasting(precision, device):  # a copy may be refused
        copied = double(model).train()
        _run(lambda: copied(inputs), f"precision = {precision}: the model failed in training", " Choose another.")


def first_batch(data: Data, size: int, *, skips: bool = False) -> tuple[Tensor, Tensor]:
    """Return the first `size` examples of train as training sees them: inputs float32, normalised; targets.

    `skips`: examples that cannot be read are left out.
    """
    train: Any = data.splits["train"]
    if isinstance(train, Stream):
        return next(read(train, size, seed=0, number=0, whole=False))
    if not isinstance(train, Examples):
        reader = Reader(train, seed=0, training=True, skips=skips, classes=data.classes)
        fetched = reader.read(Address(0, 0, range(min(size, len(train)))))
        assert fetched.inputs is not None and fetched.targets is not None
        return fetched.inputs, fetched.targets
    rows = slice(size) if train.rows is None else train.rows[:size]
    inputs, targets = train.inputs[rows], train.targets[rows]
    if data.normalisation is not None:
        finished = data.normalisation.to(inputs.device).apply(inputs)
    else:
        finished = inputs.long() if train.tokens else inputs.float()
    return finished, targets.float() if targets.is_floating_point() else targets.long()


def _check_outputs(outputs: Any, size: int) -> None:
    if not isinstance(outputs, Tensor):
        raise RecipeError(
            f"the model returned {type(outputs).__name__}: expected one tensor with the outputs of each example. "
            "Return that tensor from forward, and leave the rest out."
        )
    if outputs.ndim == 0 or len(outputs) != size:
        raise RecipeError(
            f"the model returned outputs of shape {_shape(outputs)} for {size} examples: expected as many rows as "
            "examples. Keep the first axis as it is in forward."
        )


def _check_loss(value: object, size: int) -> None:
    try:
        check_loss(value, size)
    except TrainingError as error:  # nothing has been trained yet: what was passed is at fault
        raise RecipeError(str(error)) from error


def _run(call: Callable[[], T], failed: str, advice: str = "") -> T:
    """Call the user's code; what it raises becomes one sentence that says where it was raised."""
    try:
        return call()
    except ShoalError:
        raise
    except Exception as error:  # the boundary to the user's code: what it raised is the cause
        raise RecipeError(f"{failed}: {said(error)}{place_of(error)}.{advice}") from error


def _shape(tensor: Tensor) -> list[int]:
    return list(tensor.shape)
