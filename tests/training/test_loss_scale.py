"""The loss scale is torch's GradScaler through overflows, without a value read on the host."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.checkpoints import plain
from shoal.errors import CheckpointError
from shoal.training.loss_scale import LossScale

CPU = torch.device("cpu")
INTERVAL = 3
STEPS = 40
OVERFLOWS = {2, 3, 11, 30}


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))


def batch(step: int) -> tuple[Tensor, Tensor, float]:
    """A batch, and what its loss is multiplied by: at some steps so much that gradients in fp16 overflow."""
    generator = torch.Generator().manual_seed(step)
    x_BCHW = torch.randn(8, 1, 6, 6, generator=generator)
    labels = torch.randint(3, (8,), generator=generator)
    return x_BCHW, labels, 1e4 if step in OVERFLOWS else 1.0


def loss_of(model: nn.Module, step: int) -> Tensor:
    x_BCHW, labels, factor = batch(step)
    with torch.autocast("cpu", torch.float16, cache_enabled=False):
        outputs = model(x_BCHW)
    return factor * nn.functional.cross_entropy(outputs.float(), labels)


def test_it_is_torchs_grad_scaler_in_a_training_with_overflows() -> None:
    model = network()
    theirs = copy.deepcopy(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    other = torch.optim.SGD(theirs.parameters(), lr=0.05, momentum=0.9)
    ours, scaler = LossScale(CPU, interval=INTERVAL), torch.amp.GradScaler("cpu", growth_interval=INTERVAL)
    skipped = 0
    for step in range(STEPS):
        loss = loss_of(model, step)
        loss.backward(ours.scale.clone())
        found = ours.unscale([p.grad for p in model.parameters() if p.grad is not None])
        if not found.item():
            optimizer.step()
        optimizer.zero_grad()
        ours.update(found)

        before = scaler.get_scale()
        scaler.scale(loss_of(theirs, step)).backward()
        scaler.step(other)
        scaler.update()
        other.zero_grad()
        skipped += scaler.get_scale() < before

        assert ours.scale.item() == scaler.get_scale(), step
        assert ours.growth_tracker.item() == scaler._get_growth_tracker(), step
        assert ours.skipped.item() == skipped, step
        for value, expected in zip(model.parameters(), theirs.parameters(), strict=True):
            assert torch.equal(value, expected), step
    assert skipped >= len(OVERFLOWS)
    assert ours.skipped.item() < STEPS / 2
    assert all(value.isfinite().all() for value in model.parameters())


def test_torchs_fused_optimizers_skip_by_it() -> None:
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.5, fused=True)
    scale = LossScale(CPU, initial=4.0)
    for factor, expected in ((math.inf, 1.0), (1.0, 0.5)):
        (factor * weight.sum()).backward(scale.scale.clone())
        assert weight.grad is not None
        optimizer.found_inf = scale.unscale([weight.grad])  # type: ignore[attr-defined]
        optimizer.step()
        optimizer.zero_grad()
        assert weight.tolist() == [expected, expected]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_one_number_that_is_not_finite_is_found(bad: float) -> None:
    scale = LossScale(CPU, initial=8.0)
    grads = [torch.full((3,), 16.0), torch.ones(2, 2)]
    assert scale.unscale(grads).item() == 0.0
    assert grads[0].tolist() == [2.0, 2.0, 2.0]
    grads[1][0, 1] = bad
    found = scale.unscale(grads)
    assert (found.item(), found.dtype, found.shape) == (1.0, torch.float32, torch.Size([]))


def test_it_halves_at_an_overflow_and_doubles_after_an_interval_without() -> None:
    scale = LossScale(CPU, initial=1024.0, interval=2)
    seen: list[tuple[float, int]] = []
    for overflow in (0, 0, 1, 0, 0, 0):
        scale.update(torch.tensor(float(overflow)))
        seen.append((scale.scale.item(), int(scale.skipped.item())))
    assert seen == [(1024, 0), (2048, 0), (1024, 1), (1024, 1), (2048, 1), (2048, 1)]


def test_its_numbers_are_those_of_grad_scaler() -> None:
    scaler = torch.amp.GradScaler("cpu")
    ours = LossScale(CPU)
    assert ours.scale.item() == scaler.get_scale() == 65536
    assert ours.interval == scaler.get_growth_interval()
    from shoal.training import loss_scale

    assert (scaler.get_growth_factor(), scaler.get_backoff_factor()) == (loss_scale.GROWTH, loss_scale.BACKOFF)


def test_a_saved_scale_goes_on_into_the_same_tensors() -> None:
    scale, resumed = LossScale(CPU, interval=2), LossScale(CPU, interval=2)
    held = resumed.state_dict()
    for overflow in (1, 0):
        scale.update(torch.tensor(float(overflow)))
    resumed.load_state_dict(plain(scale.state_dict()))
    for overflow in (0, 1):
        for each in (scale, resumed):
            each.update(torch.tensor(float(overflow)))
    assert {name: value.item() for name, value in held.items()} == {"scale": 32768, "growth_tracker": 0, "skipped": 2}
    assert {name: value.item() for name, value in scale.state_dict().items()} == {
        name: value.item() for name, value in held.items()
    }


def test_what_is_no_loss_scale_is_refused() -> None:
    with pytest.raises(CheckpointError, match="the saved loss scale has nothing: expected scale, growth_tracker"):
        LossScale(CPU).load_state_dict({})


def test_what_was_recorded_changes_the_state_that_it_is_given() -> None:
    def step(state: dict[str, Tensor], grads: list[Tensor]) -> Tensor:
        scale = LossScale.over(state, interval=2)
        found = scale.unscale(grads)
        scale.update(found)
        return found

    recorded = make_fx(step)(LossScale(CPU).state_dict(), [torch.ones(2), torch.ones(3)])
    eager, state = LossScale(CPU, interval=2), LossScale(CPU, interval=2).state_dict()
    for index in range(8):
        grads = [torch.randn(2), torch.randn(3)]
        if index in (3, 6):
            grads[1][2] = math.inf
        theirs = [grad.clone() for grad in grads]
        found, expected = recorded(state, grads), eager.unscale(theirs)
        eager.update(expected)
        assert found.item() == expected.item() == float(index in (3, 6))
        assert all(torch.equal(a, b) for a, b in zip(grads, theirs, strict=True))
        assert {n: v.item() for n, v in state.items()} == {n: v.item() for n, v in eager.state_dict().items()}
    assert state["skipped"].item() == 2
