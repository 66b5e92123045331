"""Weight norm and spectral norm: formulas, where they start, what they share, saving, recording, stacking."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.utils import parametrizations

from shoal.errors import RecipeError
from shoal.models import Convnet, Gpt, Mlp, reparametrised
from shoal.models.reparametrise import REASONS, STACKABLE
from shoal.training.weights import evaluating, load_weights, weights_of

KINDS = ["weight_norm", "spectral_norm"]
each = pytest.mark.parametrize("kind", KINDS)
WEIGHT = "parametrizations.weight"


def network(kind: str | None = None, *, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    model = Convnet((1, 8, 8), 3, width=2, depth=2)
    return reparametrised(model, **{kind: True}) if kind else model


def weight(layer: Any) -> Tensor:
    return layer.weight.detach().clone()


def test_nothing_is_changed_where_nothing_is_asked() -> None:
    assert list(reparametrised(network()).state_dict()) == list(network().state_dict())


def test_both_at_once_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"regularise\.weight_norm = true and .*spectral_norm = true: .* Leave one"):
        reparametrised(network(), weight_norm=True, spectral_norm=True)


@each
def test_weights_of_linear_and_convolutional_layers_are_reparametrised_and_no_others(kind: str) -> None:
    names = set(dict(network(kind).named_parameters()))
    before = set(dict(network().named_parameters()))
    changed = {name for name in before if name.endswith("weight") and "norm" not in name}
    assert changed == before - names
    originals = ("original0", "original1") if kind == "weight_norm" else ("original",)
    assert names - before == {
        f"{name.removesuffix('weight')}{WEIGHT}.{original}" for name in changed for original in originals
    }


def test_under_weight_norm_a_model_starts_with_its_own_weights() -> None:
    plain, normed = network(), network("weight_norm")
    for name, old in plain.named_modules():
        if isinstance(old, nn.Linear | nn.Conv2d):
            torch.testing.assert_close(weight(normed.get_submodule(name)), weight(old))
            lengths = normed.get_parameter(f"{name}.{WEIGHT}.original0")
            assert lengths.numel() == len(old.weight)
            torch.testing.assert_close(lengths.flatten(), old.weight.flatten(1).norm(dim=1))
    batch = torch.randn(4, 1, 8, 8)
    torch.testing.assert_close(normed.eval()(batch), plain.eval()(batch))


def test_lengths_of_a_transposed_convolution_are_those_of_its_outputs() -> None:
    layer: Any = reparametrised(nn.Sequential(nn.ConvTranspose2d(3, 5, 2)), weight_norm=True).get_submodule("0")
    assert layer.parametrizations.weight.original0.shape == (1, 5, 1, 1)


def test_under_spectral_norm_the_largest_singular_value_is_1() -> None:
    model, plain = network("spectral_norm"), network()
    batch = torch.randn(4, 1, 8, 8)
    for _ in range(100):
        model(batch)
    for name, old in plain.named_modules():
        if isinstance(old, nn.Linear | nn.Conv2d):
            found = weight(model.get_submodule(name)).flatten(1)
            assert float(torch.linalg.matrix_norm(found, 2)) == pytest.approx(1, rel=1e-3)
            torch.testing.assert_close(
                found * torch.linalg.matrix_norm(old.weight.flatten(1), 2), old.weight.flatten(1), rtol=2e-3, atol=1e-4
            )


@each
def test_weights_of_zeros_are_no_nan(kind: str) -> None:
    tokens = torch.randint(7, (2, 6))
    torch.manual_seed(0)
    plain = Gpt(6, 7, width=8, heads=2, depth=2)
    torch.manual_seed(0)
    model = reparametrised(Gpt(6, 7, width=8, heads=2, depth=2), **{kind: True})
    outputs = model(tokens)
    assert outputs.isfinite().all()
    if kind == "weight_norm":  # the same function at the start: zeros
        assert torch.equal(outputs, plain(tokens))
    else:
        assert outputs.any()
    torch.nn.functional.cross_entropy(outputs.flatten(0, 1), tokens.flatten()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    head = model.get_parameter(f"output.{WEIGHT}.original{0 if kind == 'weight_norm' else ''}")
    assert head.grad is not None
    assert head.grad.any()  # so that it can leave zero


def test_single_outputs_of_zeros_get_a_direction_and_stay_zero() -> None:
    layer = nn.Linear(3, 4)
    with torch.no_grad():
        layer.weight[2] = 0
    before = weight(layer)
    reparametrised(layer, weight_norm=True)
    torch.testing.assert_close(weight(layer), before)
    directions = layer.get_parameter(f"{WEIGHT}.original1")
    assert directions[2].any()
    torch.testing.assert_close(directions[[0, 1, 3]], before[[0, 1, 3]])


class Tied(nn.Module):
    """An embedding whose weight is that of the output layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner, self.output = nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False)
        self.output.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.output(self.inner(self.embed(tokens)))


@each
def test_a_weight_that_modules_share_stays_shared(kind: str) -> None:
    torch.manual_seed(0)
    model: Any = reparametrised(Tied(), **{kind: True})
    names = list(dict(model.named_parameters()))
    assert len(names) == (5 if kind == "weight_norm" else 3)  # two weights, each once, and a bias
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    tokens = torch.randint(5, (8,))
    for _ in range(3):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(tokens), tokens).backward()
        optimizer.step()
    model.eval()
    assert torch.equal(model.embed.weight, model.output.weight)
    other = reparametrised(Tied(), **{kind: True}).eval()
    load_weights(other, {name: value.detach() for name, value in weights_of(model).items()})
    assert torch.equal(other(tokens), model(tokens))
    found = functional_call(other, {name: value.detach() * 2 for name, value in other.named_parameters()}, (tokens,))
    assert not torch.equal(found, model(tokens))


def test_a_layer_with_a_parametrization_of_its_own_is_left_alone() -> None:
    model = nn.Sequential(parametrizations.orthogonal(nn.Linear(4, 4)), nn.Linear(4, 4))
    before = weight(model[0])
    reparametrised(model, spectral_norm=True)
    assert torch.equal(weight(model[0]), before)
    assert f"1.{WEIGHT}.0._u" in dict(model.named_buffers())


@each
def test_weights_are_saved_by_name_and_read_back(kind: str) -> None:
    first, second, third = network(kind), network(kind, seed=1), network(kind, seed=2)
    batch = torch.randn(4, 1, 8, 8)
    for _ in range(3):
        first(batch)  # moves u and v
    load_weights(second, {name: value.detach().clone() for name, value in weights_of(first).items()})
    third.load_state_dict(first.state_dict())
    expected = first(batch)
    torch.testing.assert_close(second(batch), expected, rtol=0, atol=0)  # in training mode: u and v go on alike
    torch.testing.assert_close(third(batch), expected, rtol=0, atol=0)
    for name, value in weights_of(first).items():
        assert torch.equal(value, weights_of(second)[name]), name


@each
def test_evaluation_moves_nothing(kind: str) -> None:
    model, batch = network(kind), torch.randn(4, 1, 8, 8)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with evaluating(model):
        first, second = model(batch), model(batch)
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model(batch)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert any(name.endswith("_u") for name in moved) == (kind == "spectral_norm")


@each
def test_a_training_step_can_be_recorded(kind: str) -> None:
    model, batch = reparametrised(Mlp((6,), 3, width=4), **{kind: True}), torch.randn(5, 6)
    parameters = {name: value.detach().clone() for name, value in model.named_parameters()}
    buffers = {name: value.clone() for name, value in model.named_buffers()}

    def gradient(parameters: dict[str, Tensor], buffers: dict[str, Tensor], inputs: Tensor) -> Any:
        def loss(parameters: dict[str, Tensor]) -> Tensor:
            return functional_call(model, (parameters, buffers), (inputs,)).square().mean()

        return torch.func.grad(loss)(parameters)

    copies = [{name: value.clone() for name, value in buffers.items()} for _ in range(3)]
    graph = make_fx(gradient)(parameters, copies[0], batch)
    for _ in range(2):  # u and v move within the graph, as outside of it
        found, expected = graph(parameters, copies[1], batch), gradient(parameters, copies[2], batch)
        for name in expected:
            torch.testing.assert_close(found[name], expected[name])
    assert all(torch.equal(copies[1][name], copies[2][name]) for name in buffers)
    if kind == "spectral_norm":
        assert any(not torch.equal(copies[1][name], buffers[name]) for name in buffers)


@each
def test_what_stacks_is_what_vmap_takes(kind: str) -> None:
    models = [reparametrised(Mlp((6,), 3, width=4), **{kind: True}) for _ in range(3)]
    stacked: Any = torch.func.stack_module_state(models)
    batch = torch.randn(5, 6)

    def loss(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
        return functional_call(models[0], (parameters, buffers), (batch,)).square().mean()

    def gradients() -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*batching rule for aten::_weight_norm_interface")
            return torch.func.vmap(torch.func.grad(loss))(*stacked)

    assert set(STACKABLE) == set(REASONS) == set(KINDS)
    if not STACKABLE[kind]:
        with pytest.raises(RuntimeError, match=r"Batching rule not implemented for .*\.out"):
            gradients()
        return
    found = gradients()
    for number, model in enumerate(models):
        expected = torch.func.grad(loss)(dict(model.named_parameters()), dict(model.named_buffers()))
        for name, value in expected.items():
            torch.testing.assert_close(found[name][number], value)
