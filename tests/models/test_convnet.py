"""The convolutional network: its blocks, and the pictures that it refuses."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shoal.errors import RecipeError
from shoal.models import Convnet


def test_channels_double_from_block_to_block() -> None:
    model = Convnet((3, 32, 32), 10, width=6, depth=3)
    channels = [layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert channels == [6, 6, 12, 12, 24, 24]
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_each_block_halves_the_picture() -> None:
    model = Convnet((1, 28, 28), 10, width=2, depth=3)
    picture = torch.randn(1, 1, 28, 28)
    for block, side in (("block1", 14), ("block2", 7), ("block3", 3)):
        picture = model.get_submodule(block)(picture)
        assert picture.shape[-2:] == (side, side)


@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("none", None)])
def test_a_convolution_has_a_bias_only_where_no_norm_follows(norm: str, kind: type[nn.Module] | None) -> None:
    model = Convnet((1, 8, 8), 10, norm=norm)
    convolutions = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert all((layer.bias is None) == (kind is not None) for layer in convolutions)
    norms = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm)]
    assert [type(layer) for layer in norms] == ([kind] * 4 if kind else [])


def test_groups_divide_any_width() -> None:
    groups = {}
    for width in (1, 3, 4, 12, 32):
        model = Convnet((1, 8, 8), 10, width=width, depth=1, norm="group")
        groups[width] = next(layer.num_groups for layer in model.modules() if isinstance(layer, nn.GroupNorm))
        assert model(torch.randn(2, 1, 8, 8)).isfinite().all()
    assert groups == {1: 1, 3: 1, 4: 4, 12: 4, 32: 8}


def test_dropout_stands_before_the_last_layer_only_where_it_is_asked_for() -> None:
    assert [type(layer) for layer in Convnet((1, 8, 8), 10, dropout=0.2)][-2:] == [nn.Dropout, nn.Linear]
    assert not any(isinstance(layer, nn.Dropout) for layer in Convnet((1, 8, 8), 10).modules())


def test_names_read_well() -> None:
    names = list(Convnet((1, 8, 8), 10, depth=1, dropout=0.2).state_dict())
    assert names[0] == "block1.conv1.weight"
    assert "block1.norm2.running_mean" in names
    assert names[-2:] == ["output.weight", "output.bias"]


def test_8x8_pictures_allow_three_blocks() -> None:
    assert Convnet((1, 8, 8), 10, width=2, depth=3)(torch.randn(2, 1, 8, 8)).shape == (2, 10)
    message = r"model\.depth = 4: .* 8x8 pixels can be halved 3 times\. Choose model\.depth=3 or less\."
    with pytest.raises(RecipeError, match=message):
        Convnet((1, 8, 8), 10, depth=4)


def test_the_shorter_side_decides() -> None:
    with pytest.raises(RecipeError, match=r"Choose model\.depth=1 or less"):
        Convnet((1, 64, 3), 10, depth=2)


def test_a_picture_of_one_pixel_is_sent_to_the_mlp() -> None:
    with pytest.raises(RecipeError, match=r"halved 0 times\. Choose model=mlp\."):
        Convnet((1, 1, 1), 10, depth=1)


@pytest.mark.parametrize("shape", [(64,), (8, 8), ()])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(
        RecipeError, match=r"model\.name = convnet: .*\[channels, height, width\].* Choose model=mlp"
    ) as e:
        Convnet(shape, 10)
    assert f"have shape {list(shape)}." in str(e.value)
