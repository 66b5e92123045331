"""Clipping is torch's by norm and by value, NumPy's percentile of recent norms, and replays as it ran."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from shoal.optim import Clip
from shoal.recipe.parse import parse
from shoal.recipe.schema import Regularise

CPU = torch.device("cpu")
SHAPES = ((4, 3), (7,), (), (2, 3, 3, 3), (1,))


def gradients(seed: int, scale: float = 1.0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=generator) for shape in SHAPES]


def parameters(grads: list[Tensor]) -> list[nn.Parameter]:
    """Parameters that have these gradients, for torch's functions."""
    made = [nn.Parameter(torch.zeros_like(grad)) for grad in grads]
    for parameter, grad in zip(made, grads, strict=True):
        parameter.grad = grad.clone()
    return made


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


def of_norm(norm: float) -> list[Tensor]:
    """A gradient of exactly this norm."""
    return [torch.tensor([0.0, norm]), torch.zeros(2, 2)]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_a_norm_is_clipped_as_torch_does_it(scale: float, in_place: bool) -> None:
    grads = gradients(0, scale)
    own = parameters(grads)
    expected_norm = clip_grad_norm_(own, max_norm=2.0)
    clipped, norm, was = Clip(norm=2.0).apply(grads, {}, in_place=in_place)
    assert same(clipped, [p.grad for p in own if p.grad is not None])
    assert torch.equal(norm, expected_norm)
    assert was.item() == float(scale > 1e-3)
    assert (clipped is grads) == in_place
    assert same(grads, gradients(0, scale)) == (not in_place or scale == 1e-3)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("limit", [0.01, 0.5, 100.0])
def test_values_are_clipped_as_torch_does_it(limit: float, in_place: bool) -> None:
    grads = gradients(1)
    own = parameters(grads)
    clip_grad_value_(own, limit)
    clipped, norm, was = Clip(value=limit).apply(grads, {}, in_place=in_place)
    assert same(clipped, [p.grad for p in own if p.grad is not None])
    assert torch.equal(norm, torch.nn.utils.get_total_norm(gradients(1)))
    assert was.item() == float(limit < 100)
    assert same(grads, gradients(1)) == (not in_place or limit == 100.0)


def test_values_are_limited_after_the_norm() -> None:
    clipped, norm, was = Clip(norm=1.0, value=0.7).apply([torch.tensor([3.0, 4.0])], {})
    assert clipped[0].tolist() == pytest.approx([0.6, 0.7], rel=1e-6)
    assert (norm.item(), was.item()) == (5.0, 1.0)


def test_without_limits_that_bite_nothing_changes() -> None:
    clipped, _, was = Clip(norm=1e6, value=1e6).apply(gradients(2), {})
    assert same(clipped, gradients(2))
    assert was.item() == 0.0


@pytest.mark.parametrize("window", [1, 7, 100])
@pytest.mark.parametrize("q", [0.5, 10.0, 37.5, 50.0, 99.0, 100.0])
def test_the_percentile_is_numpys_over_the_last_norms_the_present_one_included(q: float, window: int) -> None:
    clip = Clip(percentile=q, window=window)
    state = clip.state(CPU)
    norms = np.exp(np.random.default_rng(0).normal(size=130)).astype(np.float32)
    for step, norm in enumerate(norms):
        limit = np.percentile(norms[max(0, step + 1 - window) : step + 1].astype(np.float64), q)
        (clipped, _), found, was = clip.apply(of_norm(float(norm)), state)
        assert found.item() == norm
        expected = norm * min(1.0, limit / (norm + 1e-6))
        assert clipped[1].item() == pytest.approx(expected, rel=1e-5), step
        if abs(norm - limit) > 1e-5 * limit:
            assert was.item() == float(norm > limit), step


def test_the_first_norm_is_its_own_percentile_and_passes() -> None:
    clip = Clip(percentile=10.0)
    (clipped, _), _, was = clip.apply(of_norm(50.0), clip.state(CPU))
    assert clipped[1].item() == pytest.approx(50.0, rel=1e-6)
    assert was.item() == 0.0


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_enters_no_window(bad: float) -> None:
    clip = Clip(percentile=50.0, window=4)
    state, clean = clip.state(CPU), clip.state(CPU)
    for norm in (bad, 1.0, bad, 2.0, 3.0, bad, 4.0, 5.0, bad):
        (clipped, _), found, _ = clip.apply(of_norm(norm), state)
        if math.isfinite(norm):
            (expected, _), _, _ = clip.apply(of_norm(norm), clean)
            assert torch.equal(clipped, expected)
        else:
            assert not found.isfinite()
            assert not clipped.isfinite().all()
    assert {name: value.tolist() for name, value in state.items()} == {
        name: value.tolist() for name, value in clean.items()
    }


@pytest.mark.parametrize(("norm", "limit"), [(2.0, 1.25), (0.5, 0.5)])
def test_of_two_limits_of_the_norm_the_lower_one_holds(norm: float, limit: float) -> None:
    clip = Clip(norm=norm, percentile=50.0)
    state = clip.state(CPU)
    clip.apply(of_norm(0.5), state)
    (clipped, _), _, _ = clip.apply(of_norm(2.0), state)  # the median of both norms is 1.25
    assert clipped[1].item() == pytest.approx(limit, rel=1e-5)


CLIPS = [
    Clip(norm=1.0),
    Clip(value=0.5),
    Clip(percentile=30.0, window=5),
    Clip(norm=2.0, value=0.4, percentile=60.0, window=3),
]


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("clip", CLIPS, ids=str)
def test_what_was_recorded_replays_with_the_same_bits(clip: Clip, in_place: bool) -> None:
    def step(grads: list[Tensor], state: dict[str, Tensor]) -> Any:
        return clip.apply(grads, state, in_place=in_place)

    recorded = make_fx(step)(gradients(0), clip.state(CPU))
    eager_state, state = clip.state(CPU), clip.state(CPU)
    for index in range(12):
        scale = float(np.exp(index % 5 - 2))
        ours, theirs = gradients(index, scale), gradients(index, scale)
        found, expected = recorded(ours, state), step(theirs, eager_state)
        assert same([*found[0], *found[1:]], [*expected[0], *expected[1:]])
        assert same(ours, theirs)
    assert same(list(state.values()), list(eager_state.values()))


def test_the_state_stays_the_same_tensors() -> None:
    clip = Clip(percentile=50.0)
    state = clip.state(CPU)
    tensors = dict(state)
    clip.apply(of_norm(1.0), state)
    assert all(state[name] is tensor for name, tensor in tensors.items())
    assert state["count"].item() == 1


def test_gradients_that_require_gradients_are_not_recorded() -> None:
    clipped, norm, _ = Clip(norm=0.1).apply([g.requires_grad_() for g in gradients(0)], {})
    assert not norm.requires_grad
    assert not any(grad.requires_grad for grad in clipped)


def test_a_recipe_says_how() -> None:
    assert Clip.of(Regularise()) is None
    recipe = parse({"regularise": {"clip_norm": 1, "clip_value": 0.5, "clip_percentile": 10}})
    assert Clip.of(recipe.regularise) == Clip(norm=1.0, value=0.5, percentile=10.0, window=100)
    assert Clip.of(parse({"regularise": {"clip_value": 2.0}}).regularise) == Clip(value=2.0)
