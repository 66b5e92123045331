"""DropPath: which branches, how often, by how much they grow; and nothing at all where it is off."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.models import Gpt, Resnet, build
from shoal.models.drop_path import DropPath, drop_path
from shoal.models.residual import PlainResidual, ResidualBlock
from shoal.recipe import parse


def rates(model: nn.Module) -> list[float]:
    return [float(layer.rate) for layer in model.modules() if isinstance(layer, DropPath)]


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_a_branch_is_left_out_for_that_share_of_examples_and_grows_otherwise(kind: Any) -> None:
    torch.manual_seed(0)
    branch = torch.randn(4000, 2, 3)
    found = DropPath(kind(0.3))(branch)
    gone = (found == 0).all((1, 2))
    assert abs(int(gone.sum()) - 1200) < 4 * math.sqrt(4000 * 0.3 * 0.7)
    torch.testing.assert_close(found[~gone], branch[~gone] / 0.7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_type_stays(dtype: torch.dtype) -> None:
    assert DropPath(0.5)(torch.ones(4, 2, dtype=dtype)).dtype == dtype
    assert DropPath(torch.tensor(0.5))(torch.ones(4, 2, dtype=dtype)).dtype == dtype


def test_evaluation_leaves_out_nothing_and_draws_nothing() -> None:
    branch, before = torch.randn(8, 3), torch.get_rng_state()
    assert DropPath(0.9).eval()(branch) is branch
    assert torch.equal(torch.get_rng_state(), before)


def test_masks_are_a_function_of_the_generators_seed() -> None:
    branch = torch.ones(64, 1)
    torch.manual_seed(3)
    first = DropPath(0.5)(branch)
    torch.manual_seed(3)
    assert torch.equal(DropPath(0.5)(branch), first)


def test_a_recorded_graph_draws_anew() -> None:
    graph = make_fx(DropPath(0.5))(torch.ones(64, 1))
    assert not torch.equal(graph(torch.ones(64, 1)), graph(torch.ones(64, 1)))


def test_runs_of_a_stack_have_rates_of_their_own_and_draw_alike() -> None:
    branch = torch.ones(5000, 1)

    def run(rate: torch.Tensor) -> torch.Tensor:
        return DropPath(rate)(branch)

    torch.manual_seed(0)
    low, high = torch.func.vmap(run, randomness="same")(torch.tensor([0.1, 0.6]))
    assert abs(float((low == 0).float().mean()) - 0.1) < 0.02
    assert abs(float((high == 0).float().mean()) - 0.6) < 0.03
    assert ((low == 0) <= (high == 0)).all()


def test_rates_rise_with_depth_to_the_last() -> None:
    assert rates(Gpt(8, 5, width=8, depth=4, heads=2, drop_path=0.2)) == pytest.approx([0.05, 0.1, 0.15, 0.2])
    assert rates(Resnet((3, 8, 8), 10, depth=20, width=2, drop_path=0.9)) == pytest.approx(
        [i / 10 for i in range(1, 10)]
    )
    assert rates(Resnet((3, 8, 8), 10, depth=9, width=2, drop_path=0.4)) == pytest.approx([0.2, 0.4])
    assert len(rates(Resnet((3, 8, 8), 10, depth=18, width=2, drop_path=0.4))) == 8


@pytest.mark.parametrize(
    ("keys", "shape"),
    [({"name": "gpt", "width": 8, "heads": 2}, (6,)), ({"name": "resnet", "depth": 8, "width": 2}, (1, 8, 8))],
)
def test_a_rate_of_0_is_as_if_it_were_not_there(keys: dict[str, Any], shape: tuple[int, ...]) -> None:
    def made(**more: Any) -> nn.Module:
        torch.manual_seed(0)
        return build(parse({"model": {**keys, **more}}).model, input_shape=shape, outputs=5)

    without, at_0, on = made(), made(drop_path=0.0), made(drop_path=0.5)
    assert rates(without) == rates(at_0) == []
    assert rates(on)
    assert list(without.state_dict()) == list(on.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(without.parameters(), on.parameters(), strict=True))
    batch = torch.randint(5, (3, *shape)) if keys["name"] == "gpt" else torch.randn(3, *shape)
    before = torch.get_rng_state()
    expected = without(batch)
    assert torch.equal(at_0(batch), expected)
    assert torch.equal(torch.get_rng_state(), before)
    on(batch)
    assert not torch.equal(torch.get_rng_state(), before)


def test_a_block_without_its_branch_is_its_shortcut() -> None:
    torch.manual_seed(0)
    features = torch.rand(64, 4, 5, 5)
    block = ResidualBlock(4, 4, stride=1, norm="group", project=False)
    plain = PlainResidual(4, "group")
    for residual in (block, plain):
        residual.drop_path = drop_path(0.5, 1, 1)
        found = residual(features)
        same = (found == features).all((1, 2, 3))
        assert 10 < int(same.sum()) < 54


def test_both_branches_of_a_transformers_block_are_left_out() -> None:
    torch.manual_seed(0)
    model = Gpt(4, 5, width=8, depth=1, heads=2, drop_path=0.5)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter)
    tokens = torch.zeros(400, 4, dtype=torch.long)  # all alike, so that outputs tell which branches were there
    kinds = {tuple(round(float(x), 3) for x in row) for row in model(tokens)[:, -1].detach()}
    assert len(kinds) == 4
