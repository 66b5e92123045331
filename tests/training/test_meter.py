"""Sums over batches are those over examples, and what is skipped does not count."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

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


def add(
    made: Meter, losses: Tensor, outputs: Tensor, targets: Tensor, size: int, *, skipped: Tensor | None = None
) -> None:
    made.add(made.measure(losses, outputs, targets, size), skipped=skipped)


def batches(sizes: list[int]) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [tuple(torch.rand(size, generator=generator) for _ in range(3)) for size in sizes]  # type: ignore[misc]


@pytest.mark.parametrize("scalar", [False, True], ids=["a loss an example", "one loss"])
@pytest.mark.parametrize("sizes", [[8, 8, 8], [8, 8, 3], [1], [1000] * 50])
def test_means_are_those_over_examples_in_float64(sizes: list[int], scalar: bool) -> None:
    made, parts = meter(), batches(sizes)
    for losses, outputs, targets in parts:
        add(made, losses.mean() if scalar else losses, outputs, targets, len(losses))
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
    add(made, *first, 4)
    made.drain()
    assert made.drain() == {}
    add(made, *second, 5)
    alone = meter()
    add(alone, *second, 5)
    assert made.drain() == alone.drain()


def test_a_saved_meter_goes_on_bit_for_bit() -> None:
    parts = batches([8, 8, 3, 8])
    whole, first, second = meter(), meter(), meter()
    for part in parts:
        add(whole, *part, len(part[0]))
    for part in parts[:2]:
        add(first, *part, len(part[0]))
    second.load_state_dict(plain(first.state_dict()))
    for part in parts[2:]:
        add(second, *part, len(part[0]))
    assert second.drain() == whole.drain()


GOOD, BAD = torch.tensor(0.0), torch.tensor(1.0)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_batch_that_is_skipped_does_not_count(bad: float) -> None:
    made, alone, parts = meter(), meter(), batches([4, 2, 6])
    for skipped, part in zip((GOOD, BAD, GOOD), parts, strict=True):
        losses = part[0] * (bad if skipped.item() else 1.0)
        add(made, losses, *part[1:], len(losses), skipped=skipped)
        if not skipped.item():
            add(alone, *part, len(losses))
    assert made.drain() == {"skipped": 2 / 12, **alone.drain()}
    add(made, parts[0][0] * bad, *parts[0][1:], 4, skipped=BAD)
    assert made.drain() == {"skipped": 1.0}


def test_notes_are_means_over_the_examples_of_steps_that_were_made() -> None:
    made, parts = meter(), batches([4, 2, 6])
    for norm, size, skipped in ((1.0, 4, GOOD), (math.inf, 2, BAD), (3.0, 6, GOOD)):
        add(made, *parts[0], 4)
        made.note({"grad_norm": torch.tensor(norm), "clipped": torch.tensor(norm > 2).float()}, size, skipped=skipped)
    found = made.drain()
    assert found["grad_norm"] == pytest.approx((1.0 * 4 + 3.0 * 6) / 10)
    assert found["clipped"] == pytest.approx(6 / 10)
    assert list(found)[-2:] == ["grad_norm", "clipped"]


def test_where_no_step_was_made_there_is_nothing_to_note() -> None:
    made, (part,) = meter(), batches([4])
    add(made, *part, 4)
    made.note({"grad_norm": torch.tensor(math.nan)}, 4, skipped=BAD)
    assert "grad_norm" not in made.drain()
    add(made, *part, 4)
    made.note({"grad_norm": torch.tensor(2.0)}, 4, skipped=GOOD)
    assert made.drain()["grad_norm"] == 2.0


def noted(count: int) -> Meter:
    made = meter()
    for norm, part in zip(range(count), batches([4] * count), strict=True):
        add(made, *part, 4)
        made.note({"grad_norm": torch.tensor(float(norm))}, 4, skipped=GOOD)
    return made


def test_saved_notes_go_on_into_the_tensors_that_are_there() -> None:
    saved, again = noted(3), noted(1)
    held = again.tensors()
    again.load_state_dict(plain(saved.state_dict()))
    assert again.count == 12
    assert all(again.tensors()[name] is tensor for name, tensor in held.items())
    assert again.drain() == saved.drain()


def test_a_state_without_notes_is_that_of_an_earlier_version() -> None:
    again, (part,) = noted(2), batches([4])
    alone = meter()
    add(alone, *part, 4)
    state = {
        key: value for key, value in plain(alone.state_dict()).items() if key not in ("notes", "noted", "left_out")
    }
    again.load_state_dict(state)
    assert again.drain() == alone.drain()


def test_a_meter_over_tensors_writes_to_them_and_to_nothing_else() -> None:
    made = noted(2)
    before = plain(made.state_dict())
    tensors = {name: tensor.clone() for name, tensor in made.tensors().items()}
    assert list(tensors) == [
        "loss", "left_out", "sums.error.error", "sums.right.right", "sums.spread.mean", "sums.spread.square",
        "notes.grad_norm", "noted",
    ]  # fmt: skip
    other, (part,) = made.over(tensors), batches([4])
    add(other, part[0] * math.nan, *part[1:], 4)
    other.note({"grad_norm": torch.tensor(5.0)}, 4, skipped=GOOD)
    assert str(plain(made.state_dict())) == str(before)
    assert tensors["loss"].isnan()
    assert tensors["notes.grad_norm"].item() == 4 * (0 + 1 + 5)
    assert tensors["noted"].item() == 12


def test_a_prepared_meter_has_the_sums_that_another_has_at_zero() -> None:
    made, other = meter(), noted(2)
    made.prepare(other)
    assert list(made.tensors()) == list(other.tensors())
    assert all(tensor == 0 for tensor in made.tensors().values())
    assert made.drain() == {}
