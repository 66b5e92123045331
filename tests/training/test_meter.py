"""Sums over batches are those over examples, and one number says whether every loss was finite."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from shoal.checkpoints import plain
from shoal.tasks import Metric
from shoal.tasks.metric import mean_of
from shoal.training.meter import Meter

CPU = torch.device("cpu")
ERROR = mean_of("error", lambda o, t: (o - t).abs(), higher_is_better=False, in_training=True)
RIGHT = mean_of("right", lambda o, t: o > t, higher_is_better=True, in_training=True)
SPREAD = Metric(
    statistics=lambda o, t: {"mean": o, "square": o.double().square()},
    finish=lambda means: math.sqrt(means["square"] - means["mean"] ** 2),
    higher_is_better=False,
    in_training=True,
)
LATER = mean_of("later", lambda o, t: 1 / 0, higher_is_better=True)


def meter() -> Meter:
    return Meter({"error": ERROR, "right": RIGHT, "spread": SPREAD, "later": LATER}, CPU)


def batches(sizes: list[int]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.rand(size, generator=generator) for _ in range(3)) for size in sizes]  # type: ignore[misc]


@pytest.mark.parametrize("scalar", [False, True], ids=["a loss an example", "one loss"])
@pytest.mark.parametrize("sizes", [[8, 8, 8], [8, 8, 3], [1], [1000] * 50])
def test_means_are_those_over_examples_in_float64(sizes: list[int], scalar: bool) -> None:
    made, parts = meter(), batches(sizes)
    for losses, outputs, targets in parts:
        made.add(losses.mean() if scalar else losses, outputs, targets, len(losses))
    losses, outputs, targets = (
        np.concatenate([part[i].numpy() for part in parts]).astype(np.float64) for i in range(3)
    )
    expected = {
        "loss": losses.mean(),
        "error": np.abs(outputs.astype(np.float32) - targets.astype(np.float32)).astype(np.float64).mean(),
        "right": (outputs > targets).mean(),
        "spread": outputs.std(),
    }
    found = made.drain()
    assert list(found) == list(expected)
    rounding = 1e-7 if scalar else 1e-12  # the mean of a scalar loss is the user's own, in float32
    assert found["loss"] == pytest.approx(expected["loss"], rel=rounding)
    for name in ("error", "right", "spread"):
        assert found[name] == pytest.approx(expected[name], rel=1e-12)


def test_draining_starts_again() -> None:
    made = meter()
    (first, second) = batches([4, 5])
    made.add(*first, 4)
    made.drain()
    assert made.drain() == {}
    made.add(*second, 5)
    alone = meter()
    alone.add(*second, 5)
    assert made.drain() == alone.drain()


def test_a_saved_meter_goes_on_bit_for_bit() -> None:
    parts = batches([8, 8, 3, 8])
    whole, first, second = meter(), meter(), meter()
    for part in parts:
        whole.add(*part, len(part[0]))
    for part in parts[:2]:
        first.add(*part, len(part[0]))
    second.load_state_dict(plain(first.state_dict()))
    for part in parts[2:]:
        second.add(*part, len(part[0]))
    assert second.drain() == whole.drain()


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("scalar", [False, True])
def test_it_is_bad_from_the_first_loss_on_that_is_not_finite(value: float, scalar: bool) -> None:
    made, (part,) = meter(), batches([4])
    flag = made.bad
    history: list[tuple[float, int]] = []
    for step in range(6):
        losses = part[0].clone()
        if step == 3:
            losses[2] = value
        if step == 4:
            losses[1] = -value  # infinities of both signs
        made.add(losses.mean() if scalar else losses, *part[1:], 4)
        history.append((made.bad.item(), made.bad_since()))
    assert history == [(0, 0), (0, 0), (0, 0), (1, 1), (1, 2), (1, 3)]
    assert made.bad is flag
    assert made.bad.dtype == torch.float32


def test_a_large_loss_is_not_a_bad_one() -> None:
    made, (part,) = meter(), batches([4])
    for _ in range(100):
        made.add(torch.full((4,), 3e38), *part[1:], 4)
    assert made.bad_since() == 0
