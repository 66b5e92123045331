"""All hypers of a run by blocks: each is a function of its step, and only the optimizer's are shown."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.training.trainings import CPU, classification

from shoal import rng
from shoal.augment import Augment
from shoal.errors import InputError
from shoal.recipe import parse
from shoal.schedules.averages import average_weights
from shoal.schedules.mixing import mixing_values
from shoal.training import ScheduledHypers
from shoal.training.columns import Columns
from shoal.training.hypers import scheduled
from shoal.training.objective import AUGMENT, MIXING, SHARE, Mixing, Objective

PER_EPOCH, TOTAL = 10, 40
KEYS: dict[str, Any] = {
    "budget": {"epochs": 4},
    "schedules": {"lr": {"name": "cosine"}, "momentum": {"name": "cosine", "final": 0.5}},
}


class Controller:
    factor, reductions = 1.0, 0


def columns(
    *, average: dict[str, Any] | None = None, augment: bool = False, mixing: bool = False, **keys: Any
) -> Columns:
    recipe = parse({**KEYS, **({"average": average} if average else {}), **keys})
    task = classification()
    objective = Objective(
        task,
        task.loss,
        CPU,
        augment=Augment(flip=True) if augment else None,
        mixing=Mixing(0.4, 1.0) if mixing else None,
    )
    base = {"lr": 0.1, "momentum": 0.9}
    inner = ScheduledHypers(
        recipe,
        {name: base[name] for name in scheduled(recipe)},
        TOTAL,
        per_epoch=PER_EPOCH,
        controllers={"lr": Controller()} if keys else None,  # type: ignore[dict-item]
    )
    return Columns(
        inner,
        objective=objective,
        average=recipe.average,
        picture=(8, 8),
        seed=3,
        per_epoch=PER_EPOCH,
        by_epochs=True,
    )


EMA, SWA = {"name": "ema"}, {"name": "swa", "start": 0.5}


def test_without_more_they_are_the_scheduled_ones() -> None:
    made = columns()
    assert made.names == made.recorded == ("lr", "momentum")
    np.testing.assert_array_equal(made.block(3, 9), made.scheduled.block(3, 9))
    assert made.block(3, 9).shape == (6, 1, 2)


def test_they_stand_in_their_order_and_only_the_optimizers_are_recorded() -> None:
    made = columns(average=SWA, augment=True, mixing=True)
    assert made.names == ("lr", "momentum", SHARE, AUGMENT, *MIXING)
    assert made.recorded == ("lr", "momentum")
    block = made.block(0, TOTAL)
    assert block.shape == (TOTAL, 1, 9)
    values = dict(zip(made.names, block[:, 0].T, strict=True))
    steps = np.arange(TOTAL, dtype=np.int64)
    np.testing.assert_array_equal(
        values[SHARE], average_weights(made.average, steps, total=TOTAL, per_epoch=PER_EPOCH, by_epochs=True)
    )
    assert np.flatnonzero(values[SHARE]).tolist() == [19, 29, 39]
    assert values[AUGMENT].tolist() == [float(rng.key53(3, "augment", epoch)) for epoch in range(4) for _ in range(10)]
    drawn = np.stack([values[name] for name in MIXING], axis=1)
    np.testing.assert_array_equal(drawn, mixing_values(3, 0, TOTAL, mixup=0.4, cutmix=1.0, height=8, width=8))


@pytest.mark.parametrize(
    ("average", "message"),
    [
        ({"name": "swa", "start": 0.999}, "nothing would be averaged"),
        ({"name": "swa", "anneal_steps": 3}, "there is no learning rate to go to"),
        ({"name": "lookahead", "every": 41}, "the slow weights would never move"),
    ],
)
def test_an_average_that_takes_nothing_in_is_refused_when_they_are_made(average: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        columns(average=average)


@pytest.mark.parametrize(("first", "last"), [(0, 1), (0, 13), (9, 11), (13, 40), (39, 40)])
def test_a_value_depends_on_its_step_and_not_on_the_block(first: int, last: int) -> None:
    made = columns(average=EMA, augment=True, mixing=True)
    np.testing.assert_array_equal(made.block(first, last), made.block(0, TOTAL)[first:last])


def test_an_epochs_key_is_a_whole_number_that_a_float64_holds() -> None:
    keys = columns(augment=True).block(0, TOTAL)[:, 0, -1]
    assert all(key == int(key) and 0 <= key < 2**53 for key in keys.tolist())
    assert len(set(keys.tolist())) == 4


def test_a_controllers_change_is_a_change_of_theirs() -> None:
    made = columns(schedules={"lr": {"name": "plateau", "metric": "valid.loss"}})
    controller: Any = made.scheduled.controllers["lr"]
    before = made.version, made.block(5, 6)[0, 0, 0]
    controller.factor, controller.reductions = 0.5, 1
    assert (made.version, made.block(5, 6)[0, 0, 0]) == (before[0] + 1, before[1] * 0.5)
