"""A decoder-only transformer, small enough to read: attention is written out with einsum, and fused by torch.

Legend: B batch, T tokens, H heads, D numbers of a head, W width (W = H * D), V kinds of tokens; q and k are the
tokens that ask and the tokens that are asked.

Norms before each half of a block (Xiong et al. 2020, arXiv 2002.04745), RMS norms (Zhang and Sennrich 2019, arXiv
1910.07467), rotated positions (Su et al. 2021, arXiv 2104.09864), normalised queries and keys (Henry et al. 2020, arXiv
2010.04245), squared ReLU (So et al. 2021, arXiv 2109.08668). What adds to the residual stream starts at zero.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shoal.errors import RecipeError
from shoal.models.drop_path import drop_path as drop_path_of
from shoal.recipe import parts
from shoal.recipe.fields import Part

BASE = 10_000.0
"""Of the wavelengths of rotated positions: the longest is 2 pi times this, in tokens."""
EXPANSION = 4
"""Hidden units of a block's perceptron for each number of the width."""


class Gpt(nn.Module):
    """Tokens [B, T] of int64, T at most `context`, to outputs [B, T, V]: those of place t have seen tokens 0 to t only.

    Names in the state dict: `embed.weight`, `block1.attention.inward.weight`, `block1.perceptron.inward.weight`,
    `output.weight`. Raises RecipeError where `heads` do not divide the width into even parts.
    """

    def __init__(
        self,
        context: int,
        outputs: int,
        *,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        fused: bool = True,
    ) -> None:
        super().__init__()
        if width % heads or (width // heads) % 2:
            fitting = [count for count in range(1, width + 1) if width % count == 0 and (width // count) % 2 == 0]
            near = min(fitting, key=lambda count: abs(count - heads), default=None)
            advice = f"Choose model.heads={near}" if near else "Choose an even model.width"
            raise RecipeError(
                f"model.heads = {heads}: expected a number that divides model.width = {width} into even parts. "
                f"{advice}."
            )
        self.context = context
        self.embed = nn.Embedding(outputs, width)
        for number in range(1, depth + 1):
            path = drop_path_of(drop_path, number, depth)
            self.add_module(f"block{number}", _Block(context, width, heads, dropout, path, fused))
        self.depth = depth
        self.norm = nn.RMSNorm(width)
        self.output = nn.Linear(width, outputs, bias=False)
        nn.init.normal_(self.embed.weight)
        nn.init.zeros_(self.output.weight)

    def forward(self, tokens_BT: Tensor) -> Tensor:
        """Return the outputs [B, T, V] for tokens [B, T]."""
        x_BTW = F.rms_norm(self.embed(tokens_BT), (self.embed.embedding_dim,))
        for number in range(1, self.depth + 1):
            x_BTW = self.get_submodule(f"block{number}")(x_BTW)
        return self.output(self.norm(x_BTW))


class _Block(nn.Module):
    def __init__(self, context: int, width: int, heads: int, dropout: float, drop_path: nn.Module, fused: bool) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attention = Attention(context, width, heads, dropout=dropout, fused=fused)
        self.perceptron = _Perceptron(width)
        self.dropout = nn.Dropout(dropout)
        self.drop_path = drop_path

    def forward(self, x_BTW: Tensor) -> Tensor:
        x_BTW = x_BTW + self.drop_path(self.dropout(self.attention(self.norm1(x_BTW))))
        return x_BTW + self.drop_path(self.dropout(self.perceptron(self.norm2(x_BTW))))


class _Perceptron(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.inward = nn.Linear(width, EXPANSION * width, bias=False)
        self.outward = nn.Linear(EXPANSION * width, width, bias=False)
        nn.init.zeros_(self.outward.weight)

    def forward(self, x_BTW: Tensor) -> Tensor:
        return self.outward(F.relu(self.inward(x_BTW)).square())


class Attention(nn.Module):
    """Causal self-attention with rotated positions."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, context: int, width: int, heads: int, *, dropout: float = 0.0, fused: bool = True) -> None:
        super().__init__()
        self.heads, self.dropout, self.fused = heads, dropout, fused
        self.inward = nn.Linear(width, 3 * width, bias=False)
        self.outward = nn.Linear(width, width, bias=False)
        nn.init.zeros_(self.outward.weight)
        size = width // heads
        angles = torch.outer(torch.arange(context), BASE ** -(torch.arange(0, size, 2) / size))
        self.register_buffer("cosine", angles.cos()[:, None], persistent=False)  # [context, 1, D/2]
        self.register_buffer("sine", angles.sin()[:, None], persistent=False)

    def forward(self, x_BTW: Tensor) -> Tensor:
        """Return what each token gathers from itself and those before it, [B, T, W]."""
        B, T, W = x_BTW.shape
        q_BTHD, k_BTHD, v_BTHD = self.inward(x_BTW).view(B, T, 3, self.heads, W // self.heads).unbind(2)
        q_BTHD, k_BTHD = self._placed(q_BTHD), self._placed(k_BTHD)
        attend = fused_attention if self.fused else einsum_attention
        y_BTHD = attend(q_BTHD, k_BTHD, v_BTHD, dropout=self.dropout if self.training else 0.0)
        return self.outward(y_BTHD.reshape(B, T, W))

    def _placed(self, x_BTHD: Tensor) -> Tensor:
        """Normalise, then turn each pair of numbers by an angle that grows with the place of the token."""
        a, b = F.rms_norm(x_BTHD, (x_BTHD.shape[-1],)).chunk(2, dim=-1)
        cosine, sine = self.cosine[: x_BTHD.shape[1]], self.sine[: x_BTHD.shape[1]]
        return torch.cat((a * cosine - b * sine, a * sine + b * cosine), dim=-1)


def einsum_attention(q_BTHD: Tensor, k_BTHD: Tensor, v_BTHD: Tensor, *, dropout: float = 0.0) -> Tensor:
    """Return softmax(q k / sqrt(D)) v over the tokens up to each, [B, T, H, D] (Vaswani et al. 2017, equation 1)."""
    scores_BHqk = torch.einsum("bqhd,bkhd->bhqk", q_BTHD, k_BTHD) / q_BTHD.shape[-1] ** 0.5
    T = q_BTHD.shape[1]
    future_qk = torch.ones(T, T, dtype=torch.bool, device=q_BTHD.device).triu(1)
    shares_BHqk = scores_BHqk.masked_fill(future_qk, float("-inf")).softmax(-1)
    return torch.einsum("bhqk,bkhd->bqhd", F.dropout(shares_BHqk, dropout), v_BTHD)


def fused_attention(q_BTHD: Tensor, k_BTHD: Tensor, v_BTHD: Tensor, *, dropout: float = 0.0) -> Tensor:
    """Return the same by torch's fused kernel, which never holds all scores at once."""
    q, k, v = (x_BTHD.transpose(1, 2) for x_BTHD in (q_BTHD, k_BTHD, v_BTHD))
    return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout, is_causal=True).transpose(1, 2)


def build(part: Part, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the recipe's `gpt` for blocks of tokens; raises RecipeError for inputs of another shape."""
    assert isinstance(part, parts.Gpt)
    if len(input_shape) != 1:
        raise RecipeError(
            f"model.name = gpt: it reads tokens, [context], and an example of this dataset has shape "
            f"{list(input_shape)}. Choose dataset=text, or another model."
        )
    return Gpt(
        input_shape[0],
        outputs,
        width=part.width,
        depth=part.depth,
        heads=part.heads,
        dropout=part.dropout,
        drop_path=part.drop_path,
        fused=part.attention == "fused",
    )
