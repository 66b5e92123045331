"""Statistics are those of torch's `update_bn`, and what was there before is left as it was."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from shoal.optim import batch_norm_statistics, has_batch_norm

Tree = dict[str, Tensor]
BATCHES = 5


class Network(nn.Module):
    """Two batch norms of different kinds, a shared one, a norm that keeps nothing, and a cache of its own."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.drop = nn.Dropout(dropout)
        self.twice = nn.BatchNorm1d(4, momentum=None)
        self.also = self.twice
        self.keeps_nothing = nn.BatchNorm1d(4, track_running_stats=False)
        self.instance = nn.InstanceNorm2d(4, track_running_stats=True)
        self.head = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(()))
        self.register_buffer("cache", torch.zeros(4), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        self.calls.add_(1)
        x_BCHW = self.instance(self.norm(self.conv(x_BCHW)))
        x_BC = self.drop(x_BCHW).relu().mean((2, 3))
        self.cache.copy_(x_BC.mean(0))
        return self.head(self.keeps_nothing(self.also(torch.tanh(self.twice(x_BC)))))


def inputs() -> list[Tensor]:
    generator = torch.Generator().manual_seed(3)
    return [2 + 3 * torch.randn(size, 3, 6, 6, generator=generator) for size in (8, 8, 8, 8, 5)]


def network(dropout: float = 0.0) -> Network:
    torch.manual_seed(0)
    return Network(dropout)


def other_weights(model: nn.Module) -> Tree:
    """Weights that are not the model's own, statistics among them; what is shared has one value."""
    generator = torch.Generator().manual_seed(7)
    made = {
        name: value + torch.rand(value.shape, generator=generator) if value.is_floating_point() else value + 11
        for name, value in model.state_dict().items()
    }
    return made | {name.replace("twice", "also"): value for name, value in made.items() if name.startswith("twice")}


def identical(found: Tree, expected: Tree) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("training", [True, False])
def test_they_are_torchs(training: bool) -> None:
    model = network().train(training)
    weights = other_weights(model)
    theirs = copy.deepcopy(model)
    theirs.load_state_dict(weights)
    update_bn(inputs(), theirs)
    found = batch_norm_statistics(model, weights, inputs())
    expected = theirs.state_dict()
    for name in ("norm", "twice", "also"):
        for buffer in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.equal(found[f"{name}.{buffer}"], expected[f"{name}.{buffer}"]), (name, buffer)
    assert found["norm.num_batches_tracked"].item() == BATCHES
    kept = [name for name in weights if not name.startswith(("norm.run", "norm.num", "twice.", "also."))]
    assert all(found[name] is weights[name] for name in kept)


def test_the_model_its_weights_its_modes_and_the_random_state_are_left_alone() -> None:
    model = network(dropout=0.5).eval()
    model.drop.training = True  # a mixture of modes comes back as it was
    weights = other_weights(model)
    own, given = copy.deepcopy(model.state_dict()), {name: value.clone() for name, value in weights.items()}
    cache, modes = model.cache.clone(), [module.training for module in model.modules()]
    torch.manual_seed(5)
    expected_draws = torch.rand(3), random.Random(1).random()
    torch.manual_seed(5)
    random.seed(1)
    batch_norm_statistics(model, weights, inputs())
    assert torch.equal(torch.rand(3), expected_draws[0])
    assert random.random() == expected_draws[1]
    assert identical(model.state_dict(), own)
    assert identical(weights, given)
    assert torch.equal(model.cache, cache)
    assert [module.training for module in model.modules()] == modes
    assert (model.norm.momentum, model.twice.momentum) == (0.1, None)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_everything_is_put_back_where_the_model_fails() -> None:
    model = network()
    with pytest.raises(RuntimeError):
        batch_norm_statistics(model, other_weights(model), [torch.zeros(2, 7, 6, 6)])
    assert (model.norm.momentum, model.twice.momentum) == (0.1, None)
    assert model.norm.num_batches_tracked is not None
    assert model.norm.num_batches_tracked.item() == 0


def test_dropout_draws_from_the_seed_alone() -> None:
    model = network(dropout=0.5)
    weights = other_weights(model)

    def found(seed: int) -> Tensor:
        return batch_norm_statistics(model, weights, inputs(), seed=seed)["twice.running_var"]

    first = found(1)
    torch.manual_seed(99)
    assert torch.equal(found(1), first)
    assert not torch.equal(found(2), first)


def test_frozen_norms_keep_their_statistics() -> None:
    model = network().train()
    model.norm.eval()
    weights = other_weights(model)
    found = batch_norm_statistics(model, weights, inputs())
    assert torch.equal(found["norm.running_mean"], weights["norm.running_mean"])
    assert not torch.equal(found["twice.running_mean"], weights["twice.running_mean"])
    assert not model.norm.training


def test_statistics_make_the_norm_a_norm() -> None:
    model = nn.BatchNorm1d(3, affine=False)  # its buffers have no prefix
    batches = [5 + 2 * torch.randn(64, 3, generator=torch.Generator().manual_seed(seed)) for seed in range(20)]
    found = batch_norm_statistics(model, model.state_dict(), batches)
    every = torch.cat(batches)
    torch.testing.assert_close(found["running_mean"], every.mean(0))
    torch.testing.assert_close(found["running_var"], every.var(0), rtol=0.02, atol=0)


@pytest.mark.parametrize("layer", [nn.LayerNorm(3), nn.BatchNorm1d(3, track_running_stats=False), nn.Linear(3, 3)])
def test_without_batch_norms_weights_come_back_and_no_batch_is_asked_for(layer: nn.Module) -> None:
    def refuse() -> Iterator[Tensor]:
        pytest.fail("a batch was asked for")
        yield torch.zeros(2, 3)

    assert not has_batch_norm(layer)
    weights = layer.state_dict()
    assert identical(batch_norm_statistics(layer, weights, refuse()), dict(weights))


def test_without_batches_weights_come_back() -> None:
    model = network()
    weights = other_weights(model)
    assert identical(batch_norm_statistics(model, weights, []), weights)


def test_a_model_in_eval_mode_has_its_norms_and_one_with_frozen_norms_has_none() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    assert has_batch_norm(model)
    assert has_batch_norm(model.eval())
    assert not model.training
    model.train()[1].eval()
    assert not has_batch_norm(model)
