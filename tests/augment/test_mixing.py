"""Mixup and CutMix: their formulas, the mixed loss, and what cannot be mixed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.augment import check_mixing, mixed, mixed_loss
from shoal.errors import RecipeError
from shoal.recipe import parse

NOTHING = (0.0, 0.0, 0.0, 0.0)


def tensors(*values: float, dtype: torch.dtype = torch.float64) -> tuple[Any, ...]:
    return tuple(torch.tensor(value, dtype=dtype) for value in values)


@pytest.mark.parametrize("shape", [(5, 3, 4, 6), (4, 7), (3,)])
def test_mixup_is_a_weighted_mean_of_an_example_and_its_partner(shape: tuple[int, ...]) -> None:
    inputs = torch.randn(shape)
    expected = 0.7 * inputs + 0.3 * inputs.flip(0)
    torch.testing.assert_close(mixed(inputs, 0.7, cutmix=False), expected)
    torch.testing.assert_close(mixed(inputs, *tensors(0.7), cutmix=False), expected)
    if len(shape) == 4:
        torch.testing.assert_close(mixed(inputs, *tensors(0.7), tensors(*NOTHING)), expected)
        torch.testing.assert_close(mixed(inputs, 0.7, NOTHING), expected)


@pytest.mark.parametrize("mixup", [True, False])
@pytest.mark.parametrize("kind", [float, torch.float32, torch.float64, torch.int64])
def test_cutmix_takes_the_box_from_the_partner_and_leaves_the_rest(mixup: bool, kind: Any) -> None:
    inputs, box = torch.randn(5, 3, 6, 8), (1.0, 2.0, 4.0, 8.0)
    expected = inputs.clone()
    expected[:, :, 1:4, 2:8] = inputs.flip(0)[:, :, 1:4, 2:8]
    given_box: Any = box if kind is float else tensors(*box, dtype=kind)
    share: Any = 1 - 18 / 48 if kind is float else torch.tensor(1 - 18 / 48)
    assert torch.equal(mixed(inputs, share, given_box, mixup=mixup), expected)  # to the bit: no pixel is blended


@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 5), st.integers(0, 5), st.floats(0, 1, width=32))
def test_any_box_and_share_are_a_cutmix_or_a_mixup_step(
    top: int, bottom: int, left: int, right: int, share: float
) -> None:
    inputs = torch.arange(2 * 6 * 5.0).view(2, 1, 6, 5)
    found = mixed(inputs, *tensors(share), tensors(top, left, bottom, right))
    expected = inputs.clone()
    expected[:, :, top:bottom, left:right] = inputs.flip(0)[:, :, top:bottom, left:right]
    if top >= bottom or left >= right:
        expected = share * inputs + (1 - share) * inputs.flip(0)
    torch.testing.assert_close(found, expected)


def test_one_recorded_graph_serves_mixup_and_cutmix_steps() -> None:
    inputs = torch.randn(4, 3, 6, 6)
    graph = make_fx(lambda x, share, box: mixed(x, share, box))(inputs, *tensors(0.5), tensors(*NOTHING))
    for share, box in ((0.3, NOTHING), (0.75, (0.0, 0.0, 3.0, 3.0)), (1.0, NOTHING)):
        assert torch.equal(graph(inputs, *tensors(share), tensors(*box)), mixed(inputs, *tensors(share), tensors(*box)))


def test_runs_of_a_stack_have_shares_and_boxes_of_their_own() -> None:
    inputs, shares = torch.randn(4, 3, 6, 6), torch.tensor([0.3, 0.75])
    boxes = torch.tensor([NOTHING, (0.0, 1.0, 3.0, 4.0)])
    stacked = torch.func.vmap(lambda share, box: mixed(inputs, share, box.unbind()))(shares, boxes)
    alone = [mixed(inputs, share, tuple(box)) for share, box in zip(shares, boxes, strict=True)]
    torch.testing.assert_close(stacked, torch.stack(alone), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_type_and_memory_format_stay_and_gradients_flow(dtype: torch.dtype, layout: torch.memory_format) -> None:
    inputs = torch.randn(4, 3, 6, 6).to(dtype).contiguous(memory_format=layout).requires_grad_()
    for box in (NOTHING, (1.0, 1.0, 3.0, 3.0)):
        found = mixed(inputs, *tensors(0.75), tensors(*box))
        assert found.dtype == dtype
        assert found.is_contiguous(memory_format=layout)
        (gradient,) = torch.autograd.grad(found.float().sum(), inputs)
        torch.testing.assert_close(gradient.float(), torch.ones(4, 3, 6, 6), rtol=0.02, atol=0)


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none")


def test_the_mixed_loss_is_cross_entropy_on_mixed_labels() -> None:
    outputs, targets = torch.randn(6, 4), torch.randint(4, (6,))
    soft = 0.8 * F.one_hot(targets, 4) + 0.2 * F.one_hot(targets.flip(0), 4)
    found = mixed_loss(cross_entropy, outputs, targets, *tensors(0.8))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, F.cross_entropy(outputs, soft, reduction="none"))
    torch.testing.assert_close(mixed_loss(cross_entropy, outputs, targets, 0.8), found)


def test_any_targets_and_a_loss_of_one_number_a_batch_can_be_mixed() -> None:
    outputs, values = torch.randn(6, 2), torch.randn(6, 2)
    squared = mixed_loss(lambda o, t: (o - t).square().mean(1), outputs, values, 0.6)
    torch.testing.assert_close(
        squared, 0.6 * (outputs - values).square().mean(1) + 0.4 * (outputs - values.flip(0)).square().mean(1)
    )
    assert mixed_loss(F.mse_loss, outputs, values, 0.6).shape == ()
    labels = (values > 0).float()
    binary = mixed_loss(F.binary_cross_entropy_with_logits, outputs, labels, 0.6)
    torch.testing.assert_close(binary, F.binary_cross_entropy_with_logits(outputs, 0.6 * labels + 0.4 * labels.flip(0)))


def refused(keys: dict[str, Any], message: str, *, shape: tuple[int, ...], tokens: bool) -> None:
    with pytest.raises(RecipeError, match=message):
        check_mixing(parse({"regularise": keys}).regularise, dataset="text", input_shape=shape, tokens=tokens)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_tokens_cannot_be_mixed(name: str) -> None:
    message = rf"regularise\.{name} = 0\.2: the examples of dataset\.name = text are tokens, which cannot be mixed"
    refused({name: 0.2}, message, shape=(128,), tokens=True)


def test_no_box_is_cut_from_what_is_no_picture() -> None:
    refused(
        {"cutmix": 1},
        r"regularise\.cutmix = 1: .* have shape \[7\].*Choose regularise\.mixup",
        shape=(7,),
        tokens=False,
    )


def test_what_can_be_mixed_passes() -> None:
    both = parse({"regularise": {"mixup": 0.2, "cutmix": 1.0}}).regularise
    check_mixing(both, dataset="digits", input_shape=(1, 8, 8), tokens=False)
    check_mixing(parse({"regularise": {"mixup": 0.2}}).regularise, dataset="table", input_shape=(7,), tokens=False)
    check_mixing(parse({}).regularise, dataset="text", input_shape=(128,), tokens=True)
