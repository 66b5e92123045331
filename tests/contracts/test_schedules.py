"""Every schedule and every average goes through the same checks: adding a row to a table adds its suite.

A schedule is a pure function of the step, within its bounds, from whatever step it is asked for, and equal to torch's
where torch has one. An average is a weight between 0 and 1 at each step, on the same terms.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from shoal.recipe.average_parts import Ema, Lookahead, NoAverage, Swa
from shoal.recipe.fields import Part
from shoal.recipe.parse import parse
from shoal.schedules import AVERAGES, CURVES, average_weights, factors
from shoal.training import ScheduledHypers

STEPS = 1000
BASE = 0.9

Keys = dict[str, Any]

VARIANTS: dict[str, Callable[[float], list[Keys]]] = {
    "constant": lambda total: [{}],
    "step": lambda total: [{}, {"every": total / 7, "gamma": 0.5}, {"every": total}],
    "multi_step": lambda total: [{}, {"milestones": [total / 3, total / 2]}, {"milestones": [total / 2], "gamma": 0.9}],
    "exponential": lambda total: [{}, {"gamma": 0.5}, {"gamma": 1.0}],
    "polynomial": lambda total: [{}, {"power": 3, "final": 0.2}, {"final": 1.1}],
    "linear": lambda total: [{}, {"final": 0.3}, {"final": 1.1}],
    "cosine": lambda total: [{}, {"final": 0.3}, {"final": 1.1}],
    "cosine_restarts": lambda total: [{}, {"multiplier": 1}, {"period": total / 9, "multiplier": 3, "final": 0.1}],
    "cyclic": lambda total: [
        {},
        {"mode": "triangular2", "period": total / 3, "peak_at": 0.2},
        {"mode": "exp_range", "initial": 1, "peak": 0.5},
        {"mode": "exp_range", "gamma": 0.9},
    ],
    "one_cycle": lambda total: [
        {},
        {"shape": "linear", "three_phase": True, "peak_at": 0.45},
        {"initial": 1, "peak": 0.8, "final": 1},
        {"peak_at": 0},
        {"peak_at": 1},
    ],
    "wsd": lambda total: [{}, {"shape": "linear", "final": 0.1}, {"shape": "cosine", "decay": 1}, {"decay": 0.01}],
    "inverse_sqrt": lambda total: [{}, {"timescale_steps": 30}],
    "demon": lambda total: [{}],
    "plateau": lambda total: [{}, {"factor": 0.5, "patience": 1}],
}
"""Keys under which each schedule is tried, for a curve of so many units of the budget; the first are its defaults."""

Made = Callable[[torch.optim.Optimizer], Any]
REFERENCES: dict[str, list[tuple[Keys, Made]]] = {
    "constant": [({}, lambda o: lr_scheduler.ConstantLR(o, factor=1.0))],
    "step": [
        ({"every": 90, "gamma": 0.3}, lambda o: lr_scheduler.StepLR(o, 90, 0.3)),
        ({"every": 1, "gamma": 0.999}, lambda o: lr_scheduler.StepLR(o, 1, 0.999)),
    ],
    "multi_step": [
        ({"milestones": [1, 300, 999], "gamma": 0.5}, lambda o: lr_scheduler.MultiStepLR(o, [1, 300, 999], 0.5))
    ],
    "exponential": [({"gamma": 0.995}, lambda o: lr_scheduler.ExponentialLR(o, 0.995))],
    "polynomial": [
        ({"power": 2.5}, lambda o: lr_scheduler.PolynomialLR(o, STEPS, 2.5)),
        ({}, lambda o: lr_scheduler.PolynomialLR(o, STEPS, 0.9)),
    ],
    "linear": [
        ({"final": 0.2}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.2, STEPS)),
        ({}, lambda o: lr_scheduler.LinearLR(o, 1.0, 0.0, STEPS)),
    ],
    "cosine": [({"final": 0.1}, lambda o: lr_scheduler.CosineAnnealingLR(o, STEPS, 0.1))],
    "cosine_restarts": [
        ({"period": 70, "multiplier": 1}, lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 70)),
        (
            {"period": 50, "multiplier": 3, "final": 0.1},
            lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 50, 3, 0.1),
        ),
    ],
    "cyclic": [
        ({"period": 80, "initial": 0.1}, lambda o: lr_scheduler.CyclicLR(o, 0.1, 1.0, 40, cycle_momentum=False)),
        (
            {"mode": "triangular2", "period": 100, "peak_at": 0.3, "initial": 0.2},
            lambda o: lr_scheduler.CyclicLR(o, 0.2, 1.0, 30, 70, mode="triangular2", cycle_momentum=False),
        ),
        (
            {"mode": "exp_range", "period": 66, "gamma": 0.997, "initial": 0.25},
            lambda o: lr_scheduler.CyclicLR(o, 0.25, 1.0, 33, mode="exp_range", gamma=0.997, cycle_momentum=False),
        ),
    ],
    "one_cycle": [
        ({}, lambda o: lr_scheduler.OneCycleLR(o, 1.0, STEPS, cycle_momentum=False)),
        (
            {"peak_at": 0.4, "shape": "linear", "initial": 0.1, "final": 0.001, "three_phase": True},
            lambda o: lr_scheduler.OneCycleLR(
                o,
                1.0,
                STEPS,
                pct_start=0.4,
                anneal_strategy="linear",
                cycle_momentum=False,
                div_factor=10,
                final_div_factor=100,
                three_phase=True,
            ),
        ),
    ],
}
"""torch's scheduler for some keys of each schedule that it has, over STEPS steps from a base value of 1."""
WITHOUT = {"wsd", "inverse_sqrt", "demon", "plateau"}
"""torch has none, or (plateau) it is the controller that is compared: `tests.training.test_plateau`."""

CASES = [(name, index) for name in sorted(CURVES) for index in range(len(VARIANTS.get(name, lambda total: [{}])(1)))]


def values(name: str, keys: Mapping[str, Any], first: int, last: int, total: int, *, per_unit: int = 1) -> np.ndarray:
    return factors(name, keys, first, last, total, per_unit=per_unit, base=BASE)


def part(name: str, keys: Keys, warmup: int = 0) -> Keys:
    given = {"name": name, "warmup_steps": warmup, **keys}
    return parse({"schedules": {"lr": given}}).schedules.lr.model_dump()


def torchs(made: Made, read: Callable[[Any], float], **group: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1)], **({"lr": 1.0, "momentum": 0.9} | group))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler, found = made(optimizer), list[float]()
        for _ in range(STEPS):
            found.append(read(optimizer.param_groups[0]))
            optimizer.step()
            scheduler.step()
    return found


def test_every_schedule_has_variants() -> None:
    assert set(VARIANTS) == set(CURVES), "a new schedule goes through its checks with its own keys too: add them here"


def test_every_schedule_has_a_reference_or_is_known_to_have_none() -> None:
    assert set(REFERENCES) | WITHOUT == set(CURVES)
    assert not set(REFERENCES) & WITHOUT


@pytest.mark.parametrize(
    ("name", "keys", "made"), [(name, *case) for name, cases in sorted(REFERENCES.items()) for case in cases]
)
def test_it_equals_torchs_at_every_step(name: str, keys: Keys, made: Made) -> None:
    ours = values(name, part(name, keys), 0, STEPS, STEPS)
    np.testing.assert_allclose(ours, torchs(made, lambda group: group["lr"]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "index"), CASES)
def test_it_starts_anew_after_warm_up(name: str, index: int) -> None:
    keys, warmup = VARIANTS[name](80)[index], 20
    curve = values(name, part(name, keys, warmup), 0, 100, 100)
    ramp = np.arange(1, warmup + 1) / warmup
    np.testing.assert_allclose(curve[:warmup], ramp * curve[warmup], rtol=1e-12)
    if name not in ("step", "multi_step", "inverse_sqrt"):  # these count from the beginning; this knows the warm-up
        np.testing.assert_array_equal(curve[warmup:], values(name, part(name, keys), 0, 80, 80))


@given(case=st.sampled_from(CASES), total=st.integers(1, 5000), share=st.floats(0, 1), cut=st.floats(0, 1))
def test_it_depends_on_its_step_alone(case: tuple[str, int], total: int, share: float, cut: float) -> None:
    name, index = case
    warmup, middle = int(share * total), int(cut * total)
    keys = part(name, VARIANTS[name](max(total - warmup, 1))[index], warmup)
    before = dict(keys)
    if warmup < total:
        whole = values(name, keys, 0, total, total)
        parts = [values(name, keys, 0, middle, total), values(name, keys, middle, total, total)]
        assert np.concatenate(parts).tobytes() == whole.tobytes()
        one = min(middle, total - 1)
        assert values(name, keys, one, one + 1, total).tobytes() == whole[one : one + 1].tobytes()
        assert keys == before


@given(case=st.sampled_from(CASES), total=st.integers(1, 3000), per_unit=st.integers(1, 40), share=st.floats(0, 0.99))
def test_it_stays_within_its_bounds(case: tuple[str, int], total: int, per_unit: int, share: float) -> None:
    name, index = case
    warmup = int(share * total)
    keys = part(name, VARIANTS[name]((total - warmup) / per_unit)[index], warmup)
    curve = values(name, keys, 0, total, total, per_unit=per_unit)
    assert curve.dtype == np.float64
    assert curve.shape == (total,)
    assert np.isfinite(curve).all()
    assert (curve >= 0).all()
    assert curve.max() <= max([1.0, *(keys[key] for key in ("initial", "peak", "final") if key in keys)]) + 1e-12


@pytest.mark.parametrize(("name", "index"), CASES)
def test_a_training_of_one_step_has_a_value(name: str, index: int) -> None:
    assert np.isfinite(values(name, part(name, VARIANTS[name](1)[index]), 0, 1, 1)).all()
    assert np.isfinite(values(name, part(name, {}, warmup=1), 0, 1, 1)).all()


@pytest.mark.parametrize("hyper", ["lr", "momentum", "weight_decay"])
@pytest.mark.parametrize("name", sorted(set(CURVES) - {"plateau"}))
def test_it_works_on_every_hyperparameter(name: str, hyper: str) -> None:
    recipe = parse({"schedules": {hyper: {"name": name, "warmup_steps": 5}}, "budget": {"steps": 50}})
    base = {"lr": 0.3, "momentum": BASE, "weight_decay": 0.01}
    made = ScheduledHypers(recipe, base, 50)
    expected = base[hyper] * factors(name, getattr(recipe.schedules, hyper).model_dump(), 0, 50, 50, base=base[hyper])
    np.testing.assert_array_equal(made.block(0, 50)[:, 0, made.names.index(hyper)], expected)


EPOCH, TOTAL = 7, 60
AVERAGED: dict[str, list[Part]] = {
    "none": [NoAverage()],
    "ema": [Ema(), Ema(warmup=False), Ema(decay=0.0), Ema(decay=0.5)],
    "swa": [Swa(), Swa(start=0.0, every=0.1), Swa(start=0.31, every=2.5), Swa(start=0.5, lr=0.1, anneal_steps=5)],
    "lookahead": [Lookahead(), Lookahead(every=1, alpha=1.0), Lookahead(every=TOTAL)],
}
"""Keys under which each average is tried."""
AVERAGE_CASES = [case for _, cases in sorted(AVERAGED.items()) for case in cases]


def weights(average: Part, first: int, last: int, *, by_epochs: bool = True) -> np.ndarray:
    return average_weights(average, np.arange(first, last), total=TOTAL, per_epoch=EPOCH, by_epochs=by_epochs)


def test_every_average_has_variants() -> None:
    assert set(AVERAGED) == set(AVERAGES), "a new average goes through its checks with its own keys: add them here"


@pytest.mark.parametrize("average", AVERAGE_CASES, ids=str)
def test_the_weights_of_an_average_are_shares(average: Part) -> None:
    for by_epochs in (True, False):
        found = weights(average, 0, TOTAL, by_epochs=by_epochs)
        assert found.dtype == np.float64
        assert found.shape == (TOTAL,)
        assert ((found >= 0) & (found <= 1)).all()
        assert found.any() == (average.name != "none")


@given(average=st.sampled_from(AVERAGE_CASES), cut=st.integers(0, TOTAL), by_epochs=st.booleans())
def test_the_weights_of_an_average_depend_on_their_step_alone(average: Part, cut: int, by_epochs: bool) -> None:
    whole = weights(average, 0, TOTAL, by_epochs=by_epochs)
    parts = [weights(average, 0, cut, by_epochs=by_epochs), weights(average, cut, TOTAL, by_epochs=by_epochs)]
    assert np.concatenate(parts).tobytes() == whole.tobytes()
    for step in range(TOTAL):
        assert weights(average, step, step + 1, by_epochs=by_epochs) == whole[step]
