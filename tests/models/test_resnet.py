"""Residual networks: as many weights as their papers say, shapes, and the depths and pictures that are refused."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from shoal.errors import RecipeError
from shoal.models import Resnet
from shoal.models.residual import PaddedShortcut, ResidualBlock

CIFAR = (3, 32, 32)


def weights(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(("depth", "millions"), [(20, 0.27), (32, 0.46), (44, 0.66), (56, 0.85), (110, 1.7)])
def test_cifar_depths_have_the_weights_of_the_papers_table_6(depth: int, millions: float) -> None:
    assert weights(Resnet(CIFAR, 10, depth=depth)) / 1e6 == pytest.approx(millions, abs=0.03 if depth == 110 else 0.006)


def test_shortcuts_of_cifar_depths_have_no_weights() -> None:
    assert weights(Resnet(CIFAR, 10, depth=20)) == 269_722  # option A; option B has 272,474


def test_depth_18_has_the_weights_of_the_paper_with_projections() -> None:
    assert weights(Resnet((3, 224, 224), 1000, depth=18)) == 11_689_512
    assert weights(Resnet(CIFAR, 10, depth=18)) == 11_173_962


def test_depth_9_has_its_eight_convolutions_and_a_linear_layer() -> None:
    model = Resnet(CIFAR, 10, depth=9)
    channels = [layer.out_channels for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    assert channels == [64, 128, 128, 128, 256, 512, 512, 512]
    assert weights(model) == 6_573_130


@pytest.mark.parametrize("depth", [8, 9, 14, 18, 20, 32])
def test_depth_counts_the_layers_with_weights_but_projections(depth: int) -> None:
    model = Resnet((1, 8, 8), 10, depth=depth, width=2)
    layers = [
        n for n, layer in model.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear) and "shortcut" not in n
    ]
    assert len(layers) == depth


@pytest.mark.parametrize("depth", [8, 9, 18])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (3, 9, 17)])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_outputs_are_as_many_as_asked_for(depth: int, shape: tuple[int, int, int], norm: str) -> None:
    model = Resnet(shape, 7, depth=depth, width=4, norm=norm)
    assert model(torch.randn(2, *shape)).shape == (2, 7)
    kinds = {type(layer) for layer in model.modules() if isinstance(layer, nn.BatchNorm2d | nn.GroupNorm)}
    assert kinds == {nn.BatchNorm2d if norm == "batch" else nn.GroupNorm}


def sides(model: nn.Module, picture: Tensor) -> list[int]:
    found = []
    for layer in list(model.eval())[:-2]:
        picture = layer(picture)
        found.append(picture.shape[-1])
    return found


def test_stages_halve_the_picture() -> None:
    assert sides(Resnet(CIFAR, 10, depth=20), torch.randn(1, *CIFAR)) == [32, 32, 16, 8]
    assert sides(Resnet(CIFAR, 10, depth=9, width=4), torch.randn(1, *CIFAR)) == [32, 16, 8, 4]
    assert sides(Resnet(CIFAR, 10, depth=18, width=4), torch.randn(1, *CIFAR)) == [32, 32, 16, 8, 4]


@pytest.mark.parametrize(
    ("stem", "side", "expected"), [("auto", 95, 95), ("auto", 96, 24), ("7x7", 32, 8), ("3x3", 96, 96)]
)
def test_the_stem_of_depth_18_is_for_small_or_for_large_pictures(stem: str, side: int, expected: int) -> None:
    shape = (3, side, side)
    assert sides(Resnet(shape, 10, depth=18, width=2, stem=stem), torch.randn(1, *shape))[0] == expected


@pytest.mark.parametrize("depth", [8, 18])
def test_tiny_pictures_do_not_vanish(depth: int) -> None:
    model = Resnet((1, 1, 1), 10, depth=depth, width=2).eval()
    assert model(torch.randn(2, 1, 1, 1)).isfinite().all()


def test_a_block_begins_as_its_shortcut() -> None:
    block = Resnet(CIFAR, 10, depth=8).get_submodule("stage1.block1")
    features = torch.rand(2, 16, 5, 5)  # not negative, as features after ReLU are
    torch.testing.assert_close(block(features), features, rtol=0, atol=0)


def test_a_padded_shortcut_leaves_out_pixels_and_adds_channels_of_zeros() -> None:
    features = torch.randn(2, 4, 5, 5)
    found = PaddedShortcut(4, 2)(features)
    assert found.shape == (2, 8, 3, 3)
    assert torch.equal(found[:, 2:6], features[:, :, ::2, ::2])
    assert not found[:, :2].any()
    assert not found[:, 6:].any()


def test_a_blocks_result_is_that_of_the_papers_figure_2() -> None:
    torch.manual_seed(0)
    block = ResidualBlock(3, 6, stride=2, norm="batch", project=True).eval()
    features = torch.randn(2, 3, 8, 8)
    inner = torch.relu(block.norm1(block.conv1(features)))
    expected = torch.relu(block.norm2(block.conv2(inner)) + block.shortcut(features))
    torch.testing.assert_close(block(features), expected, rtol=0, atol=0)
    assert block(features).shape == (2, 6, 4, 4)


def test_weights_are_drawn_as_he_draws_them() -> None:
    torch.manual_seed(0)
    weight = Resnet(CIFAR, 10, depth=18).get_parameter("stage3.block2.conv2.weight").detach()
    assert float(weight.std()) == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)


def test_names_read_well() -> None:
    names = list(Resnet(CIFAR, 10, depth=8).state_dict())
    assert names[0] == "stem.conv.weight"
    assert "stage2.block1.norm2.running_mean" in names
    assert names[-2:] == ["output.weight", "output.bias"]
    assert "stage2.block1.shortcut.conv.weight" in Resnet(CIFAR, 10, depth=18, width=2).state_dict()
    assert "stage3.residual.second.conv.weight" in Resnet(CIFAR, 10, depth=9, width=2).state_dict()


@pytest.mark.parametrize(
    ("depth", "nearest"), [(1, 8), (10, 9), (11, 9), (17, 18), (19, 18), (21, 20), (34, 32), (50, 50)]
)
def test_a_depth_that_there_is_not_names_the_nearest(depth: int, nearest: int) -> None:
    if depth == nearest:
        assert Resnet(CIFAR, 10, depth=depth, width=1)
        return
    with pytest.raises(
        RecipeError, match=rf"model\.depth = {depth}: .* did you mean {nearest}\? There are: 9, 18, and 6n"
    ):
        Resnet(CIFAR, 10, depth=depth)


def test_a_stem_is_chosen_for_depth_18_only() -> None:
    with pytest.raises(
        RecipeError, match=r"model\.stem = 7x7: only the resnet of depth 18 .* model\.depth = 20\. Leave"
    ):
        Resnet(CIFAR, 10, depth=20, stem="7x7")


def test_depth_9_refuses_pictures_that_would_vanish() -> None:
    assert Resnet((1, 8, 8), 10, depth=9, width=2).eval()(torch.randn(1, 1, 8, 8)).shape == (1, 10)
    with pytest.raises(RecipeError, match=r"one of 9x7 pixels would vanish: expected 8 pixels a side or more\. Choose"):
        Resnet((1, 7, 9), 10, depth=9)


@pytest.mark.parametrize("shape", [(64,), (8, 8), ()])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(RecipeError, match=r"model\.name = resnet: .*\[channels, height, width\].* Choose model=mlp"):
        Resnet(shape, 10)
