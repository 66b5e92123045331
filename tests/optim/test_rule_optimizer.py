"""A rule as an optimizer: counts, gradients that are missing, loss scaling, what is updated together."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shoal import optim
from shoal.optim.muon import MuonRule, newton_schulz
from shoal.optim.rule_optimizer import RuleOptimizer
from shoal.recipe.parse import parse

CPU = torch.device("cpu")


def built(model: nn.Module, name: str = "demon_adam", **keys: Any) -> RuleOptimizer:
    optimizer = optim.build(parse({"optimizer": {"name": name, **keys}}).optimizer, model, CPU)
    assert isinstance(optimizer, RuleOptimizer)
    return optimizer


def step(model: nn.Module, optimizer: torch.optim.Optimizer, *, without: str = "-", seed: int = 0) -> None:
    torch.manual_seed(seed)
    for name, parameter in model.named_parameters():
        parameter.grad = None if name.startswith(without) else torch.randn(parameter.shape)
    optimizer.step()


def pair() -> nn.Module:
    torch.manual_seed(0)
    return nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})


def test_a_parameter_without_a_gradient_keeps_its_weights_and_its_count() -> None:
    model, alone = pair(), pair()
    optimizer, other = built(model, lr=0.1), built(alone, lr=0.1)
    before = model["second"].weight.detach().clone()
    for seed in range(3):
        step(model, optimizer, without="second", seed=seed)
    assert torch.equal(model["second"].weight, before)
    assert model["second"].weight not in optimizer.state
    step(model, optimizer, seed=9)
    step(alone, other, seed=9)
    assert torch.equal(model["second"].weight, alone["second"].weight), "its first step is its first"
    assert optimizer.state[model["first"].weight]["step"] == 4
    assert optimizer.state[model["second"].weight]["step"] == 1


def test_parameters_that_have_come_equally_far_are_updated_together(monkeypatch: pytest.MonkeyPatch) -> None:
    batches: list[tuple[int, ...]] = []

    def watched(batch: Tensor, iterations: int, dtype: torch.dtype) -> Tensor:
        batches.append(tuple(batch.shape))
        return newton_schulz(batch, iterations, dtype)

    monkeypatch.setattr("shoal.optim.muon.newton_schulz", watched)
    model = pair()
    optimizer = built(model, "muon")
    step(model, optimizer)
    assert batches == [(2, 3, 3)]
    state = copy.deepcopy(optim.named_state(optimizer, model))
    again = built(model, "muon")
    optim.load_named_state(again, model, state)
    step(model, again)
    again.load_state_dict(copy.deepcopy(again.state_dict()))
    step(model, again)
    assert batches == [(2, 3, 3)] * 3, "a state that was loaded does not part them: sums in batches round differently"
    step(model, again, without="first")
    step(model, again)
    assert batches[3:] == [(1, 3, 3)] * 3


def test_scaled_gradients_are_unscaled_and_a_skipped_step_counts_for_nothing() -> None:
    """What GradScaler does: it hands over the scale and whether any gradient was not finite."""
    model, plain = pair(), pair()
    optimizer, other = built(model, lr=0.1), built(plain, lr=0.1)
    step(plain, other)
    torch.manual_seed(0)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape) * 8
    optimizer.grad_scale, optimizer.found_inf = torch.tensor(8.0), torch.tensor(1.0)
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), pair().parameters(), strict=True))
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), plain.parameters(), strict=True))
    assert optimizer.state[model["first"].weight]["step"] == 1


def test_the_grad_scaler_of_torch_works_with_it() -> None:
    model = pair()
    optimizer = built(model, lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=100)
    before = model["first"].weight.detach().clone()
    for value in (float("inf"), 1.0):
        optimizer.zero_grad()
        loss = (model["first"].weight * value).sum() + model["second"].weight.sum() * 0
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(model["first"].weight, before) == (value == float("inf"))
    assert optimizer.state[model["first"].weight]["step"] == 1


def test_a_closure_is_evaluated_with_gradients() -> None:
    model = nn.Linear(2, 1)
    optimizer = built(model)

    def closure() -> Tensor:
        loss = model(torch.ones(1, 2)).sum()
        loss.backward()
        return loss

    assert optimizer.step(closure).requires_grad


@pytest.mark.parametrize("nesterov", [True, False])
@pytest.mark.parametrize("adjust_lr", ["original", "match_rms_adamw"])
def test_muon_is_torchs_where_torch_takes_the_parameters(adjust_lr: str, nesterov: bool) -> None:
    """Both iterate in bfloat16, whose numbers are 0.8 % apart, in another order of operations.

    The matrices are small: for larger ones, torch hands products to oneDNN, which uses instructions (AMX) that some
    virtual machines announce and do not have.
    """
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in ((16, 16), (16, 8), (8, 16), (3, 5), (3, 5))]
    ours, theirs = (nn.ParameterList([nn.Parameter(value.clone()) for value in start]) for _ in range(2))
    optimizer = built(ours, "muon", lr=0.02, matmul="bfloat16", adjust_lr=adjust_lr, nesterov=nesterov)
    reference = torch.optim.Muon(theirs.parameters(), lr=0.02, adjust_lr_fn=adjust_lr, nesterov=nesterov)
    for _ in range(20):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn(one.shape)
            other.grad = one.grad.clone()
        optimizer.step()
        reference.step()
    for one, other, before in zip(ours, theirs, start, strict=True):
        assert (one - other).norm() < 0.02 * (other - before).norm()


def test_muon_makes_orthogonal_what_it_is_given() -> None:
    """Singular values between 0.7 and 1.2 (Jordan et al. 2024), whatever they were, from 0.01 of the largest on."""
    torch.manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(8, 8)).Q for _ in range(2))
    batch = (left * torch.logspace(-2, 0, 8)) @ right
    for given in (batch[None], 1e3 * batch[None], batch[None, :5], batch[None, :, :5]):
        values = torch.linalg.svdvals(newton_schulz(given, 6, torch.float32))
        assert values.max() < 1.25
        assert values.min() > 0.65


def test_a_gradient_of_zeros_moves_no_matrix() -> None:
    assert not newton_schulz(torch.zeros(1, 3, 2), 5, torch.bfloat16).any()


def test_muons_precision_is_its_own_under_autocast() -> None:
    """Under autocast a product of float32 matrices would be made in bfloat16."""
    torch.manual_seed(0)
    batch = torch.randn(1, 8, 8)
    alone = newton_schulz(batch, 5, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(newton_schulz(batch, 5, torch.float32), alone)


def test_muons_rule_takes_matrices_alone() -> None:
    part: Any = parse({"optimizer": "muon"}).optimizer
    with pytest.raises(AssertionError, match="what is no matrix goes to AdamwOfRest"):
        MuonRule.of(part).start(torch.zeros(3))
