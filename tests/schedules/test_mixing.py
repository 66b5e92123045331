"""The draws of mixup and CutMix: frozen, at an address, distributed as stated."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal import rng
from shoal.schedules import mixing_values
from shoal.schedules.mixing import GRID, _key

SIZE = {"height": 28, "width": 20}


def test_its_key_is_that_of_all_random_streams() -> None:
    assert _key(7, "mix", 3) == rng.key(7, "mix", 3)


@given(seed=st.integers(0, 2**63 - 1), first=st.integers(0, 3 * GRID), steps=st.integers(0, GRID), cut=st.floats(0, 1))
def test_a_draw_depends_on_seed_and_step_alone(seed: int, first: int, steps: int, cut: float) -> None:
    middle, last = first + int(cut * steps), first + steps
    whole = mixing_values(seed, first, last, mixup=0.4, cutmix=1.0, **SIZE)
    parts = [mixing_values(seed, a, b, mixup=0.4, cutmix=1.0, **SIZE) for a, b in ((first, middle), (middle, last))]
    assert whole.shape == (steps, 5)
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_draws_are_frozen() -> None:
    found = mixing_values(0, 1022, 1028, mixup=0.2, cutmix=1.0, **SIZE)
    np.testing.assert_allclose(found, FROZEN, rtol=1e-12)  # the last bits of a power are the platform's


def test_other_seeds_and_steps_draw_otherwise() -> None:
    one, other = [mixing_values(seed, 0, 2 * GRID, mixup=1.0, cutmix=0.0) for seed in (0, 1)]
    assert (one[:, 0] != other[:, 0]).all()
    assert len(np.unique(one[:, 0])) == 2 * GRID


@pytest.mark.parametrize(("alpha", "mean", "variance"), [(1.0, 0.75, 1 / 48), (0.2, None, None), (4.0, None, None)])
def test_mixup_keeps_the_larger_share_of_a_beta(alpha: float, mean: float | None, variance: float | None) -> None:
    found = mixing_values(3, 0, 40 * GRID, mixup=alpha, cutmix=0.0)
    share = found[:, 0]
    assert ((share >= 0.5) & (share <= 1)).all()
    assert not found[:, 1:].any()
    # E (l - 1/2)^2 is the variance of Beta(a, a), whichever of l and 1 - l is taken
    assert np.mean((share - 0.5) ** 2) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.02)
    if mean is not None:
        assert share.mean() == pytest.approx(mean, abs=0.005)
        assert share.var() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("alpha", [0.1, 1.0, 5.0])
def test_cutmix_keeps_exactly_what_its_box_leaves(alpha: float) -> None:
    share, top, left, bottom, right = mixing_values(0, 0, 20 * GRID, mixup=0.0, cutmix=alpha, **SIZE).T
    assert ((top >= 0) & (bottom >= top) & (bottom <= 28)).all()
    assert ((left >= 0) & (right >= left) & (right <= 20)).all()
    for edge in (top, left, bottom, right):
        np.testing.assert_array_equal(edge, np.rint(edge))
    np.testing.assert_array_equal(share, 1 - (bottom - top) * (right - left) / (28 * 20))
    assert (share < 0.5).any()


def test_boxes_that_no_edge_cuts_have_sides_of_root_one_minus_lambda() -> None:
    _, top, left, bottom, right = mixing_values(0, 0, 40 * GRID, mixup=0.0, cutmix=1.0, height=1000, width=1000).T
    inside = (top > 0) & (left > 0) & (bottom < 1000) & (right < 1000)
    assert inside.sum() > 2000
    np.testing.assert_array_equal((bottom - top)[inside], (right - left)[inside])
    # lambda is uniform, and its box, of side s, lies inside with probability (1 - s)^2: density of s is 2 s (1 - s)^2
    side = (bottom - top)[inside] / 1000
    assert side.mean() == pytest.approx(0.4, abs=0.01)
    centre = ((top + bottom) / 2)[inside]
    assert centre.mean() == pytest.approx(500, abs=8)


def test_with_both_each_step_is_one_of_the_two() -> None:
    found = mixing_values(0, 0, 20 * GRID, mixup=1.0, cutmix=1.0, **SIZE)
    boxed = found[:, 3] > 0
    assert boxed.mean() == pytest.approx(0.5, abs=0.02)
    assert (found[~boxed, 0] >= 0.5).all()
    assert not found[~boxed, 1:].any()
    box = mixing_values(0, 0, 20 * GRID, mixup=1.0, cutmix=1.0, height=56, width=40)
    np.testing.assert_array_equal(box[~boxed & (box[:, 3] == 0), 0], found[~boxed & (box[:, 3] == 0), 0])


def test_without_either_every_example_keeps_all_of_itself() -> None:
    assert mixing_values(0, 0, 3, mixup=0.0, cutmix=0.0).tolist() == [[1, 0, 0, 0, 0]] * 3


FROZEN = [
    [0.9173093909028651, 0.0, 0.0, 0.0, 0.0],
    [0.9979581034687229, 0.0, 0.0, 0.0, 0.0],
    [0.875, 18.0, 13.0, 28.0, 20.0],
    [0.6964285714285714, 9.0, 0.0, 26.0, 10.0],
    [0.6857142857142857, 7.0, 7.0, 23.0, 18.0],
    [0.825, 0.0, 0.0, 14.0, 7.0],
]
