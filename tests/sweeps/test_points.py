from __future__ import annotations

from collections.abc import Sequence

import pytest

from shoal.errors import InputError, RecipeError
from shoal.recipe import parse
from shoal.recipe.compose import apply, compose
from shoal.sweeps.points import between
from shoal.sweeps.points import compose as composed

BASE = compose("digits_mlp")


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["optimizer.lr=0.5", "seed=3"],
        ["optimizer=adamw"],
        ["optimizer=adamw", "optimizer.lr=0.5", "optimizer.beta1=0.8"],
        ["model=convnet", "model.width=8", "batch_size=all"],
        ["budget.steps=5", "evaluate.every=2"],
        ["schedules.lr=step", "schedules.momentum=linear", "average=ema", "average.decay=0.5"],
        ["best.metric=valid.accuracy", "early_stop.patience=3", "init.freeze=[hidden]"],
    ],
)
def test_what_makes_one_recipe_of_another(words: Sequence[str]) -> None:
    other = compose("digits_mlp", words)
    assert parse(apply(BASE.mapping(), list(between(BASE, other).items()))) == other
    assert parse(apply(other.mapping(), list(between(other, BASE).items()))) == BASE


def test_what_varies_is_told_in_the_order_in_which_it_was_said() -> None:
    said = [{"optimizer.lr": lr, "model.width": width, "batch_size": 16} for lr in (0.1, 0.2) for width in (8, 16)]
    request = composed(BASE, said)
    assert request.keys == ("optimizer.lr", "model.width")
    assert request.wanted[1].values == {"optimizer.lr": 0.1, "model.width": 16}


def test_the_keys_that_only_another_part_has_are_no_axes() -> None:
    request = composed(
        BASE, [{"optimizer": "sgd"}, {"optimizer": "adamw"}, {"optimizer": "adamw", "optimizer.lr": 0.5}]
    )
    assert request.keys == ("optimizer.name", "optimizer.lr")


def test_points_that_come_to_the_same_recipe_are_one() -> None:
    request = composed(BASE, [{"optimizer.lr": 0.1}, {"optimizer.lr": 1e-1, "seed": 0.0}, {"optimizer.lr": 0.2}])
    assert (len(request.wanted), request.doubled) == (2, 1)


def test_a_point_that_cannot_be_is_named() -> None:
    with pytest.raises(RecipeError, match=r"the point optimizer=adamw momentum=0.9: unknown key optimizer.momentum"):
        composed(BASE, [{"seed": 1}, {"optimizer": "adamw", "optimizer.momentum": 0.9}])


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(InputError, match="the grid is empty"):
        composed(BASE, [])
