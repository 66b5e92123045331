"""What a recipe asks for becomes augmentations, in one order; examples that cannot bear them are refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from shoal import rng
from shoal.augment import ENTRIES, Augment, check
from shoal.errors import RecipeError
from shoal.recipe import parse


def asked(**keys: Any) -> Augment | None:
    return Augment.of(parse({"regularise": keys}).regularise)


def test_a_recipe_that_asks_for_nothing_has_none() -> None:
    assert asked() is None
    assert asked(mixup=0.2, label_smoothing=0.1) is None


def test_a_recipe_gets_what_it_asks_for() -> None:
    assert asked(flip=True) == Augment(flip=True)
    assert asked(translate=4, crop=0.25, cutout=8) == Augment(translate=4, crop=0.25, cutout=8)


def test_nothing_is_done_where_nothing_is_on() -> None:
    inputs = torch.randn(2, 1, 4, 4)
    assert Augment()(inputs, torch.arange(2), 0) is inputs


def test_augmentations_come_one_after_the_other_each_with_draws_of_its_own() -> None:
    amounts: dict[str, Any] = {"crop": 0.5, "flip": True, "translate": 1, "cutout": 2}
    assert list(ENTRIES) == list(amounts)
    assert [(entry.first, entry.draws) for entry in ENTRIES.values()] == [(5, 4), (0, 1), (1, 2), (3, 2)]  # frozen
    inputs, index, key = torch.randn(8, 3, 6, 6), torch.arange(8), rng.key53(1, "augment", 2)
    expected = inputs
    for name, amount in amounts.items():
        expected = Augment(**{name: amount})(expected, index, key)
    assert torch.equal(Augment(**amounts)(inputs, index, key), expected)


@pytest.mark.parametrize("shape", [(64,), (128, 2), ()])
@pytest.mark.parametrize(
    ("keys", "said"),
    [({"flip": True}, r"regularise\.flip: "), ({"crop": 0.5}, r"regularise\.crop = 0\.5: ")],
)
def test_what_is_no_picture_is_refused(shape: tuple[int, ...], keys: dict[str, Any], said: str) -> None:
    with pytest.raises(RecipeError, match=said + r"examples of this dataset have shape \[.*\]: expected pictures \["):
        check(Augment(**keys), shape)


@pytest.mark.parametrize(
    ("keys", "most", "advice"),
    [({"translate": 6}, 5, "Give at most 5"), ({"cutout": 7}, 6, "Give at most 6"), ({"translate": 40}, 5, "Give")],
)
def test_amounts_that_leave_nothing_of_a_picture_are_refused(keys: dict[str, int], most: int, advice: str) -> None:
    with pytest.raises(
        RecipeError, match=rf"regularise\.\w+ = \d+: .* 9x6 pixels, .*: expected at most {most}\. {advice}"
    ):
        check(Augment(**keys), (3, 6, 9))
    check(Augment(**dict.fromkeys(keys, most)), (3, 6, 9))


def test_pictures_of_one_pixel_cannot_be_shifted() -> None:
    with pytest.raises(RecipeError, match=r"Leave regularise\.translate out"):
        check(Augment(translate=1), (1, 1, 1))
