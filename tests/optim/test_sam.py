"""The step uphill is the paper's, weights come back with their own bits, and a training equals its loop written out."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.optim import ascent, climbed, climbing

RHO = 0.05


def test_it_has_length_rho_over_all_parameters_together() -> None:
    generator = torch.Generator().manual_seed(0)
    grads = [torch.randn(shape, generator=generator) for shape in ((4, 3), (), (6,))]
    steps = ascent(grads, RHO)
    assert torch.cat([step.flatten() for step in steps]).norm().item() == pytest.approx(RHO, rel=1e-6)
    for step, grad in zip(steps, grads, strict=True):
        assert torch.nn.functional.cosine_similarity(step.flatten(), grad.flatten(), dim=0) == pytest.approx(1.0)


@pytest.mark.parametrize("rho", [0.0, 0.5])
def test_a_gradient_of_zeros_goes_nowhere(rho: float) -> None:
    assert [step.tolist() for step in ascent([torch.zeros(2), torch.zeros(())], rho)] == [[0.0, 0.0], 0.0]


def test_a_loss_scale_cancels_out() -> None:
    grads = [torch.randn(5), torch.randn(2, 2)]
    scaled = ascent([65536 * grad for grad in grads], RHO)
    for found, expected in zip(scaled, ascent(grads, RHO), strict=True):
        torch.testing.assert_close(found, expected)


def test_a_quadratic_by_hand() -> None:
    """f = (x^2 + 4 y^2) / 2 at (3, 1): g = (3, 4), up 0.5 g / 5 to (3.3, 1.4), whose gradient is (3.3, 5.6)."""
    x = torch.tensor([3.0, 1.0])
    curvature = torch.tensor([1.0, 4.0])
    (step,) = ascent([curvature * x], rho=0.5)
    assert step.tolist() == pytest.approx([0.3, 0.4])
    (there,) = climbed([x], [step])
    assert (curvature * there).tolist() == pytest.approx([3.3, 5.6])
    assert x.tolist() == [3.0, 1.0]


def test_weights_come_back_with_their_own_bits() -> None:
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(1000, generator=generator) for _ in range(3)]
    steps = [1e3 * torch.randn(1000, generator=generator) for _ in range(3)]
    before = [weight.clone() for weight in weights]
    with climbing(weights, steps):
        assert all(torch.equal(w, b + s) for w, b, s in zip(weights, before, steps, strict=True))
    assert all(torch.equal(w, b) for w, b in zip(weights, before, strict=True))
    assert not all(torch.equal((b + s) - s, b) for b, s in zip(before, steps, strict=True)), "or this shows nothing"


def test_they_come_back_after_an_error_too_and_so_does_what_is_kept() -> None:
    model = nn.BatchNorm1d(2)
    before = copy.deepcopy(model.state_dict())
    weights, buffers = list(model.parameters()), list(model.buffers())

    def fail_uphill() -> None:
        with climbing(weights, [torch.ones(2)] * 2, keeping=buffers):
            model(torch.randn(4, 2))
            assert [buffer.tolist() for buffer in buffers][2] == 1
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_uphill()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def regression() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 1)), torch.randn(16, 3), torch.randn(16, 1)


def test_a_training_equals_its_loop_written_out() -> None:
    model, x, y = regression()
    theirs = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    other = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9)
    for _ in range(30):
        weights = list(model.parameters())
        grads = torch.autograd.grad((model(x) - y).square().mean(), weights)
        with climbing(weights, ascent(list(grads), RHO)):
            (model(x) - y).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

        (theirs(x) - y).square().mean().backward()
        kept = [p.detach().clone() for p in theirs.parameters()]
        squares = sum(float(p.grad.double().square().sum()) for p in theirs.parameters() if p.grad is not None)
        with torch.no_grad():
            for p in theirs.parameters():
                assert p.grad is not None
                p.add_(p.grad, alpha=RHO / squares**0.5)
        other.zero_grad()
        (theirs(x) - y).square().mean().backward()
        with torch.no_grad():
            for p, value in zip(theirs.parameters(), kept, strict=True):
                p.copy_(value)
        other.step()
        other.zero_grad()
    for ours, expected in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)


def test_what_was_recorded_replays_with_the_same_bits() -> None:
    def step(weights: list[Tensor], grads: list[Tensor]) -> list[Tensor]:
        return climbed(weights, ascent(grads, RHO))

    weights, grads = [torch.randn(3), torch.randn(2, 2)], [torch.randn(3), torch.randn(2, 2)]
    recorded = make_fx(step)([torch.ones(3), torch.ones(2, 2)], [torch.ones(3), torch.ones(2, 2)])
    for found, expected in zip(recorded(weights, grads), step(weights, grads), strict=True):
        assert torch.equal(found, expected)
