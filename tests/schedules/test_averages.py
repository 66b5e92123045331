"""What the weights of averages make of a sequence, SWA's learning rate against torch's, and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.swa_utils import SWALR

from shoal.errors import InputError
from shoal.recipe.average_parts import Ema, Lookahead, Swa
from shoal.recipe.fields import Part
from shoal.recipe.parse import parse
from shoal.schedules import average_weights, swa_lr
from shoal.training.agenda import Agenda


def weights(part: Part, total: int, *, per_epoch: int = 10, by_epochs: bool = True) -> np.ndarray:
    return average_weights(part, np.arange(total), total=total, per_epoch=per_epoch, by_epochs=by_epochs)


def averaged(part: Part, values: np.ndarray, **length: Any) -> np.ndarray:
    """What the average is after each update, by the one line that the device runs; it starts at 100."""
    average, found = 100.0, list[float]()
    for weight, value in zip(weights(part, len(values), **length), values, strict=True):
        average += weight * (value - average)
        found.append(average)
    return np.array(found)


@given(
    total=st.integers(2, 300),
    per_epoch=st.integers(1, 40),
    start=st.floats(0, 0.99),
    every=st.floats(0.1, 5),
    by_epochs=st.booleans(),
)
def test_swa_is_the_mean_of_the_weights_at_its_points(
    total: int, per_epoch: int, start: float, every: float, by_epochs: bool
) -> None:
    interval = max(every * (per_epoch if by_epochs else 1), 1.0)
    begins = round(start * total)
    due = [
        done for done in range(1, total + 1) if done >= begins and done in {round(k * interval) for k in range(1, 900)}
    ]
    values = np.random.default_rng(0).normal(size=total)
    part = Swa(start=start, every=every)
    if begins == total or not due:
        with pytest.raises(InputError, match="nothing would be averaged"):
            averaged(part, values, per_epoch=per_epoch, by_epochs=by_epochs)
        return
    found = averaged(part, values, per_epoch=per_epoch, by_epochs=by_epochs)
    for done in range(1, total + 1):
        taken = [values[point - 1] for point in due if point <= done]
        assert found[done - 1] == pytest.approx(np.mean(taken) if taken else 100.0, rel=1e-9, abs=1e-9)


def test_swa_averages_where_evaluations_are() -> None:
    recipe = parse({"budget": {"epochs": 6}, "evaluate": {"every": 0.75}})
    agenda = Agenda.of(recipe, 10)
    due = np.flatnonzero(weights(Swa(start=0.5, every=0.75), 60)) + 1
    assert due.tolist() == [step for step in range(30, 61) if agenda.evaluate.due(step)] != []


@pytest.mark.parametrize("by_epochs", [True, False])
def test_swa_averages_once_an_epoch_unless_it_is_told_otherwise(by_epochs: bool) -> None:
    assert (np.flatnonzero(weights(Swa(), 80, by_epochs=by_epochs)) + 1).tolist() == [60, 70, 80]


@pytest.mark.parametrize("part", [Swa(start=0.95), Swa(start=0.9, every=2), Swa(start=0.99, every=10)], ids=str)
def test_swa_averages_at_the_end_where_that_is_the_end_of_its_interval(part: Swa) -> None:
    """Such as one epoch, averaged once an epoch, from three quarters on: less than an interval, and a point in it."""
    assert (np.flatnonzero(weights(part, 100)) + 1).tolist() == [100]


def test_ema_with_a_constant_decay_is_the_textbooks() -> None:
    values = np.random.default_rng(0).normal(size=50)
    expected, average = list[float](), 100.0
    for value in values:
        average = 0.9 * average + 0.1 * value
        expected.append(average)
    np.testing.assert_allclose(averaged(Ema(decay=0.9, warmup=False), values), expected, rtol=1e-12)


def test_a_rising_decay_forgets_the_first_weights_soon() -> None:
    ours = weights(Ema(decay=0.999), 20_000)
    assert ours[[0, 8, 9000]] == pytest.approx([1 - 1 / 10, 1 - 9 / 18, 0.001])
    left = np.cumprod(1 - ours)
    assert left[99] < 1e-10


def test_lookahead_moves_every_so_many_steps() -> None:
    assert weights(Lookahead(every=4, alpha=0.3), 10).tolist() == [0, 0, 0, 0.3, 0, 0, 0, 0.3, 0, 0]


@pytest.mark.parametrize(
    ("part", "message"),
    [
        (
            Swa(start=0.9, every=4),
            r"average\.every = 4 is 40 steps, and average\.start = 0\.9 leaves 10 \(from step 90 to 100\), so "
            r"nothing .* Start earlier, give a sho",
        ),
        (Swa(start=0.999), r"average\.start = 0\.999 leaves 0 \(from step 100 to 100\), so nothing would be averaged"),
        (Swa(anneal_steps=5), r"average\.anneal_steps = 5: there is no learning rate to go to\. Give average\.lr"),
        (Lookahead(every=101), r"average\.every = 101: the slow weights would never move, .* at most 100\. Shorten"),
    ],
)
def test_an_average_that_takes_nothing_in_is_refused(part: Part, message: str) -> None:
    with pytest.raises(InputError, match=message):
        weights(part, 100)


@pytest.mark.parametrize("anneal", [0, 1, 10, 50])
def test_the_learning_rate_of_swa_is_torchs(anneal: int) -> None:
    start, total = 50, 100
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=0.4)
    scheduler = SWALR(optimizer, swa_lr=0.05, anneal_epochs=anneal, anneal_strategy="cos")
    ours = swa_lr(np.arange(total), 0.4, start=0.5, total=total, lr=0.05, anneal_steps=anneal)
    np.testing.assert_array_equal(ours[:start], 0.4)
    for step in range(start, total):
        # torch steps from lr to lr, and loses digits where the cosine is flat
        assert optimizer.param_groups[0]["lr"] == pytest.approx(ours[step], rel=1e-9), step
        optimizer.step()
        scheduler.step()


def test_a_way_to_the_learning_rate_of_swa_that_is_longer_than_what_is_left_is_refused() -> None:
    with pytest.raises(
        InputError, match=r"anneal_steps = 30: 25 steps are left after average\.start = 0\.75 \(step 75"
    ):
        swa_lr(np.arange(3), 0.4, start=0.75, total=100, lr=0.05, anneal_steps=30)


def test_an_unknown_average_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown average 'emma': did you mean 'ema'"):
        weights(Part(name="emma"), 5)
