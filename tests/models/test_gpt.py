"""The transformer: both ways of attention agree, no place sees the future, distances count and not places."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shoal.errors import RecipeError
from shoal.models import Gpt, build
from shoal.models.gpt import Attention, einsum_attention, fused_attention
from shoal.recipe import parse


def network(*, fused: bool = True, **keys: int) -> Gpt:
    torch.manual_seed(0)
    found = Gpt(12, 7, **{"width": 16, "depth": 2, "heads": 4, **keys}, fused=fused)
    for parameter in found.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    return found


def queries() -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(1)
    q, k, v = (torch.randn(3, 10, 4, 8, requires_grad=True) for _ in range(3))
    return q, k, v


def test_einsum_and_fused_attention_are_equal_and_so_are_their_gradients() -> None:
    (q, k, v), weights = queries(), torch.randn(3, 10, 4, 8)
    written, fused = einsum_attention(q, k, v), fused_attention(q, k, v)
    torch.testing.assert_close(written, fused, rtol=0, atol=1e-5)
    slopes = [torch.autograd.grad((found * weights).sum(), (q, k, v)) for found in (written, fused)]
    for one, other in zip(*slopes, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


def test_attention_is_the_formula_of_the_paper() -> None:
    q, k, v = (x.detach().double().numpy() for x in queries())
    expected = np.zeros_like(v)
    for b, h, t in np.ndindex(3, 4, 10):
        scores = np.array([q[b, t, h] @ k[b, s, h] for s in range(t + 1)]) / math.sqrt(8)
        shares = np.exp(scores - scores.max())
        expected[b, t, h] = (shares / shares.sum()) @ v[b, : t + 1, h]
    found = einsum_attention(*(torch.from_numpy(x) for x in (q, k, v)))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-10)


def test_whole_networks_agree_whichever_way_they_attend() -> None:
    tokens = torch.randint(7, (4, 12))
    written, fused = network(fused=False)(tokens), network(fused=True)(tokens)
    torch.testing.assert_close(written, fused, rtol=0, atol=1e-5)
    assert written.abs().max() > 0.1


@pytest.mark.parametrize("fused", [False, True])
def test_no_place_sees_a_later_token(fused: bool) -> None:
    found = network(fused=fused)
    tokens = torch.randint(7, (2, 12))
    changed = tokens.clone()
    changed[:, 8:] = (changed[:, 8:] + 1) % 7
    before, after = found(tokens), found(changed)
    torch.testing.assert_close(before[:, :8], after[:, :8], rtol=0, atol=1e-6)
    assert (before[:, 8:] - after[:, 8:]).abs().max() > 1e-3


def test_a_shorter_text_is_read_as_the_start_of_a_longer_one() -> None:
    found, tokens = network(), torch.randint(7, (2, 12))
    torch.testing.assert_close(found(tokens)[:, :5], found(tokens[:, :5]), rtol=0, atol=1e-6)


def test_rotated_positions_depend_on_distances_only() -> None:
    torch.manual_seed(0)
    attention = Attention(16, 8, 2)
    q, k = torch.randn(1, 1, 2, 4).expand(1, 16, 2, 4), torch.randn(1, 1, 2, 4).expand(1, 16, 2, 4)
    placed_q, placed_k = attention._placed(q), attention._placed(k)  # pyright: ignore[reportPrivateUsage]
    scores = torch.einsum("bqhd,bkhd->bhqk", placed_q, placed_k)[0, 0]
    for distance in range(-8, 9):
        diagonal = scores.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=0, atol=1e-5)
    assert (scores[0, 0] - scores[8, 0]).abs() > 1e-3


def test_a_fresh_network_knows_nothing() -> None:
    outputs = Gpt(12, 7, width=16, heads=4)(torch.randint(7, (2, 12)))
    assert not outputs.any()  # each token alike, so the first loss is log(7)


def test_dropout_changes_training_alone() -> None:
    torch.manual_seed(0)
    found = Gpt(12, 7, width=16, heads=4, dropout=0.5)
    for parameter in found.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.2)
    tokens = torch.randint(7, (2, 12))
    assert not torch.equal(found(tokens), found(tokens))
    found.eval()
    assert torch.equal(found(tokens), found(tokens))


def test_the_recipe_chooses_how_attention_is_computed() -> None:
    for attention, fused in (("fused", True), ("einsum", False)):
        part = parse({"model": {"name": "gpt", "attention": attention}}).model
        found = build(part, input_shape=(8,), outputs=5)
        assert all(module.fused is fused for module in found.modules() if isinstance(module, Attention))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"width": 16, "heads": 3}, r"model.heads = 3: expected a number that divides model.width = 16.*heads=[24]"),
        ({"width": 9, "heads": 3}, r"Choose an even model.width"),
        ({"width": 12, "heads": 12}, r"into even parts. Choose model.heads=6"),
    ],
)
def test_heads_that_do_not_divide_the_width_are_refused(keys: dict[str, int], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        Gpt(8, 5, **keys)


def test_inputs_that_are_no_blocks_of_tokens_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"it reads tokens.*shape \[1, 8, 8\]. Choose dataset=text"):
        build(parse({"model": "gpt"}).model, input_shape=(1, 8, 8), outputs=10)
