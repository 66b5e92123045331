"""Every model goes through the same checks: adding a row to the table adds its suite.

Shapes, finite gradients in each precision, gradients that are slopes, saving and loading, initial weights from the
global generator, evaluation that depends on nothing but the example; all also with reparametrised weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from shoal.models import reparametrised
from shoal.models import table as models
from shoal.recipe.parse import parse
from shoal.recipe.tables import TABLES
from shoal.training.weights import load_weights, weights_of

PASSED_FROM_PYTHON = {"external"}
"""Entries that stand for an object."""
MODELS = sorted(
    {name for name, cls in TABLES["model"].items() if cls.__module__.startswith("shoal.recipe.")} - PASSED_FROM_PYTHON
)
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "mlp": [{}, {"depth": 0}, {"depth": 2, "norm": "batch"}, {"norm": "layer", "activation": "gelu", "dropout": 0.2}],
    "convnet": [{"width": 3}, {"width": 2, "depth": 3, "norm": "group"}, {"width": 2, "norm": "none", "dropout": 0.2}],
    "resnet": [
        {"width": 2, "depth": 8},
        {"width": 3, "depth": 9, "norm": "group", "drop_path": 0.3},
        {"width": 2, "depth": 18},
        {"width": 2, "depth": 18, "stem": "7x7", "drop_path": 0.3},
    ],
    "gpt": [
        {"width": 8, "heads": 2, "depth": 1},
        {"width": 6, "heads": 3, "depth": 2, "attention": "einsum"},
        {"width": 8, "heads": 2, "depth": 2, "dropout": 0.2, "drop_path": 0.3},
    ],
}
"""Keys under which a model goes through its checks."""
CASES = [(name, keys) for name in MODELS for keys in VARIANTS[name]]
PICTURE, CONTEXT = (1, 8, 8), (5,)
PRECISIONS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
REPARAMETRISED = ["weight_norm", "spectral_norm"]

each = pytest.mark.parametrize(("name", "keys"), CASES)


def inputs(name: str, count: int) -> Tensor:
    """Return such inputs as a model reads: tokens of 10 kinds, or pictures."""
    if name in models.OF_TOKENS:
        return torch.randint(10, (count, *CONTEXT))
    return torch.randn(count, *PICTURE)


def model(
    name: str, keys: Mapping[str, Any], *, seed: int = 0, outputs: int = 10, norm: str | None = None
) -> nn.Module:
    torch.manual_seed(seed)
    shape = CONTEXT if name in models.OF_TOKENS else PICTURE
    network = models.build(parse({"model": {"name": name, **keys}}).model, input_shape=shape, outputs=outputs)
    for parameter in network.parameters():  # what starts at zero would pass no gradient on
        if not parameter.any():
            nn.init.normal_(parameter, std=0.1)
    return reparametrised(network, **{norm: True}) if norm else network


def check_gradients(network: nn.Module, batch: Tensor, dtype: torch.dtype | None = None) -> None:
    with torch.autocast("cpu", dtype=dtype or torch.bfloat16, enabled=dtype is not None):
        outputs = network(batch)
    assert outputs.isfinite().all()
    outputs.float().square().mean().backward()
    for key, parameter in network.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.dtype == torch.float32, key
        assert parameter.grad.isfinite().all(), key


def test_every_model_has_variants() -> None:
    assert sorted(VARIANTS) == MODELS, "a new model goes through its checks with its own keys: add them here"


@each
@pytest.mark.parametrize("count", [1, 6])
def test_a_model_has_its_outputs(name: str, keys: Mapping[str, Any], count: int) -> None:
    network = model(name, keys)
    wanted = (count, *CONTEXT, 10) if name in models.OF_TOKENS else (count, 10)
    assert network.eval()(inputs(name, count)).shape == wanted
    if count > 1:  # a batch norm has no variance of one example
        assert network.train()(inputs(name, count)).shape == wanted


@each
@pytest.mark.parametrize("precision", PRECISIONS)
def test_gradients_are_finite_in_each_precision(name: str, keys: Mapping[str, Any], precision: str) -> None:
    network, batch = model(name, keys), inputs(name, 6)
    try:
        check_gradients(network, batch, PRECISIONS[precision])
    except RuntimeError as error:
        if precision != "fp16" or "not implemented for 'Half'" not in str(error):
            raise
        pytest.skip(f"torch has no fp16 for this model on the CPU: {error}")


@each
def test_half_precision_computes_the_same_to_its_rounding(name: str, keys: Mapping[str, Any]) -> None:
    network, batch = model(name, keys).eval().requires_grad_(False), inputs(name, 6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(batch)
    expected = network(batch)
    assert not torch.equal(found.float(), expected)
    torch.testing.assert_close(found.float(), expected, rtol=0.1, atol=0.05 * float(expected.abs().max()))


@each
def test_a_model_is_restored_from_its_state_dict(name: str, keys: Mapping[str, Any]) -> None:
    first, second = model(name, keys, seed=0), model(name, keys, seed=1)
    batch = inputs(name, 4)
    first(batch)  # moves the running statistics of batch norms
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first.eval()(batch), second.eval()(batch), rtol=0, atol=0)


@each
def test_a_models_weights_come_from_the_global_generator(name: str, keys: Mapping[str, Any]) -> None:
    first, again, other = model(name, keys, seed=0), model(name, keys, seed=0), model(name, keys, seed=1)
    weights, same, different = first.state_dict(), again.state_dict(), other.state_dict()
    assert all(torch.equal(weights[key], same[key]) for key in weights)
    assert any(not torch.equal(weights[key], different[key]) for key in weights)


@each
def test_in_evaluation_an_example_depends_on_itself_alone_and_nothing_is_drawn(
    name: str, keys: Mapping[str, Any]
) -> None:
    network, batch = model(name, keys).eval(), inputs(name, 6)
    before = torch.get_rng_state()
    together = network(batch)
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(torch.cat([network(one) for one in batch.split(1)]), together, rtol=1e-4, atol=1e-5)


@each
def test_a_models_gradients_are_its_slopes(name: str, keys: Mapping[str, Any]) -> None:
    if name in models.OF_TOKENS:  # tokens have no slopes: those of the weights that they choose do
        network = model(name, keys).double().eval()
        tokens, names = inputs(name, 2), [key for key, _ in network.named_parameters()]

        def outputs(*weights: Tensor) -> Tensor:
            return torch.func.functional_call(network, dict(zip(names, weights, strict=True)), (tokens,))[..., :2]

        weights = tuple(parameter.detach().requires_grad_() for parameter in network.parameters())
        assert torch.autograd.gradcheck(outputs, weights, eps=1e-7, atol=1e-4, fast_mode=True)
        return
    network = model(name, {**keys, "width": 2}, outputs=2).double().eval()
    pictures = inputs(name, 2).double().requires_grad_()
    assert torch.autograd.gradcheck(network, (pictures,), eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("name", [name for name in MODELS if "drop_path" in TABLES["model"][name].model_fields])
def test_branches_are_left_out_in_training_only(name: str) -> None:
    keys = next(keys for keys in VARIANTS[name] if keys.get("drop_path"))
    network, batch = (
        model(name, {**keys, "drop_path": 0.6, "norm": "group"} if name == "resnet" else keys),
        inputs(name, 32),
    )
    before = torch.get_rng_state()
    assert not torch.equal(network(batch), network(batch))
    torch.set_rng_state(before)
    first = network(batch)
    torch.set_rng_state(before)
    assert torch.equal(network(batch), first)
    without = model(name, {**keys, "drop_path": 0.0})
    assert torch.equal(network.eval()(batch), without.eval()(batch))


@each
@pytest.mark.parametrize("norm", REPARAMETRISED)
def test_a_reparametrised_model_has_finite_gradients(name: str, keys: Mapping[str, Any], norm: str) -> None:
    check_gradients(model(name, keys, norm=norm), inputs(name, 6))
    check_gradients(model(name, keys, norm=norm), inputs(name, 6), torch.bfloat16)


@each
def test_under_weight_norm_a_model_starts_as_it_was(name: str, keys: Mapping[str, Any]) -> None:
    batch = inputs(name, 4)
    found, expected = model(name, keys, norm="weight_norm").eval()(batch), model(name, keys).eval()(batch)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@each
@pytest.mark.parametrize("norm", REPARAMETRISED)
def test_a_reparametrised_model_is_restored_by_name(name: str, keys: Mapping[str, Any], norm: str) -> None:
    first, second = model(name, keys, seed=0, norm=norm), model(name, keys, seed=1, norm=norm)
    batch = inputs(name, 4)
    first(batch)
    load_weights(second, {key: value.detach() for key, value in weights_of(first).items()})
    assert torch.equal(first.eval()(batch), second.eval()(batch))
