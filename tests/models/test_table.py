"""The table of models: building from a recipe, and a user's own entries."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from shoal.errors import RecipeError
from shoal.models import Mlp, build, register
from shoal.recipe import parse
from shoal.recipe.parts import ExternalModel


def built(model: Any, input_shape: tuple[int, ...] = (1, 8, 8), outputs: int = 10) -> nn.Module:
    return build(parse({"model": model}).model, input_shape=input_shape, outputs=outputs)


def test_the_keys_of_a_recipe_reach_the_model() -> None:
    model = built({"name": "mlp", "width": 7, "depth": 2, "dropout": 0.1, "norm": "layer", "activation": "tanh"})
    torch.manual_seed(1)
    wanted = Mlp((1, 8, 8), 10, width=7, depth=2, dropout=0.1, norm="layer", activation="tanh")
    assert str(model) == str(wanted)
    convnet = built({"name": "convnet", "width": 3, "depth": 3, "dropout": 0.25, "norm": "group"})
    assert convnet.get_submodule("dropout").p == 0.25
    assert convnet.get_submodule("block3.conv2").out_channels == 12
    assert isinstance(convnet.get_submodule("block1.norm1"), nn.GroupNorm)


def test_building_draws_from_torchs_global_generator() -> None:
    torch.manual_seed(5)
    first = built("convnet").state_dict()
    torch.manual_seed(5)
    second = built("convnet").state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_function_of_the_users_gets_the_shape_and_its_keys() -> None:
    def narrow(input_shape: tuple[int, ...], outputs: int, width: int = 3, scale: float = 0.5) -> nn.Module:
        assert scale == 2.0
        return nn.Sequential(nn.Flatten(), nn.Linear(input_shape[-1] ** 2, width), nn.Linear(width, outputs))

    register("narrow", narrow)
    model = built({"name": "narrow", "scale": 2})
    assert model(torch.randn(4, 1, 8, 8)).shape == (4, 10)


def test_a_class_of_the_users_is_a_factory_too() -> None:
    class Deep(nn.Module):
        def __init__(self, outputs: int, layers: tuple[int, ...] = (4,)) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.Linear(size, outputs) for size in layers])

    register("deep", Deep)
    model = built({"name": "deep", "layers": [2, 3]}, outputs=6)
    assert [tuple(layer.weight.shape) for layer in model.layers] == [(6, 2), (6, 3)]


def test_a_factory_that_asks_for_nothing_gets_nothing() -> None:
    register("fixed", lambda: nn.Linear(64, 10))
    assert isinstance(built("fixed"), nn.Linear)


def test_a_factory_that_returns_no_module_is_refused() -> None:
    register("forgetful", lambda: None)
    with pytest.raises(RecipeError, match=r"model\.name = forgetful: its factory returned NoneType: .*nn\.Module"):
        built("forgetful")


def test_a_name_is_registered_once() -> None:
    with pytest.raises(RecipeError, match="the model 'mlp' is registered twice"):
        register("mlp", lambda: nn.Linear(1, 1))


def test_a_model_passed_from_python_has_to_be_passed_again() -> None:
    with pytest.raises(RecipeError, match=r"model\.name = external: .* Pass it again, as in model=factory"):
        build(ExternalModel(source="notebook.net"), input_shape=(3,), outputs=1)
