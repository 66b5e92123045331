"""Averages equal torch's over fifty steps of a training, and lookahead is its algorithm."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from shoal.checkpoints import plain
from shoal.errors import CheckpointError
from shoal.optim import Average, averaged, lookahead, lookahead_

STEPS = 50
DECAY = 0.9
Tree = dict[str, Tensor]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 2))


def trained(model: nn.Module) -> Iterator[int]:
    """Fifty steps of SGD; what is yielded to sees the model after each."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(1)
    for step in range(STEPS):
        optimizer.zero_grad()
        model(torch.randn(8, 4, generator=generator)).square().mean().backward()
        optimizer.step()
        yield step


def floating(tree: Tree) -> Tree:
    return {name: value for name, value in tree.items() if value.is_floating_point()}


def identical(found: Tree, expected: Tree) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize("kind", ["ema", "swa"])
def test_it_is_torchs_averaged_model(kind: str) -> None:
    model = network()
    if kind == "ema":
        theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(DECAY), use_buffers=True)
    else:
        theirs = AveragedModel(model, use_buffers=True)
    ours = Average(model.state_dict())
    pure = dict(model.state_dict())
    for step in trained(model):
        theirs.update_parameters(model)
        share = 1.0 / (step + 1) if kind == "swa" or step == 0 else 1 - DECAY
        ours.update(model.state_dict(), share)
        pure = averaged(pure, model.state_dict(), torch.tensor(share))
        expected = floating(theirs.module.state_dict())
        for name, value in floating(ours.weights()).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-6, atol=1e-7, msg=name)
            torch.testing.assert_close(pure[name], expected[name], rtol=1e-6, atol=1e-7, msg=name)
    assert ours.weights()["1.num_batches_tracked"].item() == STEPS


def test_an_average_has_tensors_of_its_own_that_stay_the_same() -> None:
    model = network()
    average = Average(dict(model.named_parameters()))
    before = average.weights()
    for _ in trained(model):
        average.update(dict(model.named_parameters()), 0.5)
    average.load_state_dict(plain(average.state_dict()))
    after = average.weights()
    assert all(after[name] is value for name, value in before.items())
    assert not any(value.requires_grad for value in after.values())
    assert not identical(after, dict(model.named_parameters()))


def test_an_average_of_another_model_is_refused_and_nothing_changed() -> None:
    average = Average({"a": torch.ones(2), "b": torch.zeros(3)})
    with pytest.raises(CheckpointError, match="missing b, left over c"):
        average.load_state_dict({"a": torch.zeros(2), "c": torch.zeros(3)})
    with pytest.raises(CheckpointError, match=r"b is \(3,\) in the model and \(4,\) in the saved average"):
        average.load_state_dict({"a": torch.zeros(2), "b": torch.zeros(4)})
    assert average.weights()["a"].tolist() == [1.0, 1.0]


def test_lookahead_is_its_algorithm() -> None:
    """Five steps of SGD on x^2 / 2, then phi += alpha (theta - phi), theta := phi; written out in float64."""
    slow, fast = {"x": torch.tensor([1.0, -2.0])}, {"x": torch.tensor([1.0, -2.0])}
    in_place = ({"x": torch.tensor([1.0, -2.0])}, {"x": torch.tensor([1.0, -2.0])})
    phi = [1.0, -2.0]
    for _ in range(4):
        theta = list(phi)
        for _ in range(5):
            theta = [0.9 * value for value in theta]
            fast = {"x": fast["x"] - 0.1 * fast["x"]}
            in_place[1]["x"].sub_(0.1 * in_place[1]["x"])
        phi = [p + 0.5 * (t - p) for p, t in zip(phi, theta, strict=True)]
        slow, fast = lookahead(slow, fast, 0.5)
        lookahead_(*in_place, 0.5)
        for tree in (slow, fast, *in_place):
            assert tree["x"].tolist() == pytest.approx(phi, rel=1e-5)
    assert torch.equal(slow["x"], in_place[0]["x"])
    assert fast["x"] is not slow["x"]


def test_lookahead_rests_at_an_alpha_of_zero_and_replays() -> None:
    slow = {"x": torch.tensor([1.0, -2.0]), "y": torch.randn(3)}
    fast = {name: value + 1 for name, value in slow.items()}
    recorded = make_fx(lookahead)(slow, fast, torch.tensor(0.5))
    for alpha in (0.0, 0.3, 1.0):
        rested = recorded(slow, fast, torch.tensor(alpha))
        assert all(identical(a, b) for a, b in zip(rested, lookahead(slow, fast, alpha), strict=True))
    assert all(identical(a, b) for a, b in zip(lookahead(slow, fast, 0.0), (slow, fast), strict=True))
    assert all(identical(tree, fast) for tree in lookahead(slow, fast, 1.0))
