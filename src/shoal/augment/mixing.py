"""Mixup and CutMix: each example is mixed with its partner, the one in its place in the reversed batch.

Which share of each example stays its own, and which box of its picture is the partner's, comes from the caller, one
set a step: a draw from a Beta distribution is a hyperparameter like the learning rate, not code in the step. So a step
is the same tensor operations whatever was drawn.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from shoal.errors import RecipeError
from shoal.recipe.schema import Regularise

Number = Tensor | float
"""A number of the step: a tensor [], or a float."""
Box = tuple[Number, Number, Number, Number]
"""top, left, bottom, right, in pixels: rows [top, bottom) and columns [left, right). All 0 is empty."""
NO_BOX: Box = (0.0, 0.0, 0.0, 0.0)


def mixed(inputs: Tensor, share: Number, box: Box = NO_BOX, *, mixup: bool = True, cutmix: bool = True) -> Tensor:
    """Return inputs [B, ...] mixed with those of the reversed batch, `inputs.flip(0)`.

    With an empty box, mixup (Zhang et al. 2017, arXiv 1710.09412, equation 1): share * x + (1 - share) * partner. With
    a box, CutMix (Yun et al. 2019, arXiv 1905.04899, equation 1): the partner's pixels inside it, the example's own
    outside; inputs are [B, C, H, W] then. `mixup` and `cutmix` say which of the two can occur in this training, so
    that no operation is spent on the other.
    """
    partner = inputs.flip(0)
    if not cutmix:
        return torch.lerp(partner, inputs, _as(inputs, share))
    inside_HW = _inside(inputs, box)
    weight = (~inside_HW).to(inputs.dtype)
    if mixup:
        weight = weight * torch.where(inside_HW.any(), 1.0, share).to(inputs.dtype)
    return torch.lerp(partner, inputs, weight)  # exact where the weight is 0 or 1


def mixed_loss(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, targets: Tensor, share: Number) -> Tensor:
    """Return share * loss(outputs, targets) + (1 - share) * loss(outputs, the partners' targets).

    For cross entropy that is the loss on mixed labels (arXiv 1710.09412, section 2); it is defined for any targets and
    any loss, of one value an example or one a batch. In CutMix `share` is that of the picture outside the box.
    """
    return share * loss(outputs, targets) + (1 - share) * loss(outputs, targets.flip(0))


def check_mixing(regularise: Regularise, *, dataset: str, input_shape: tuple[int, ...], tokens: bool) -> None:
    """Raise RecipeError where a dataset of that name has examples that cannot be mixed as a recipe asks."""
    for name in ("mixup", "cutmix"):
        value = getattr(regularise, name)
        said = f"regularise.{name} = {value:g}: the examples of dataset.name = {dataset}"
        if value and tokens:
            raise RecipeError(
                f"{said} are tokens, which cannot be mixed: there is no token between two. Leave regularise.{name} "
                "out; model.dropout and regularise.label_smoothing work on text."
            )
        if value and name == "cutmix" and len(input_shape) != 3:
            raise RecipeError(
                f"{said} have shape {list(input_shape)}, from which no box can be cut: expected pictures [channels, "
                "height, width]. Choose regularise.mixup, which mixes examples of any shape."
            )


def _inside(inputs: Tensor, box: Box) -> Tensor:
    """Which pixels lie inside the box, [H, W]."""
    top, left, bottom, right = box
    rows = torch.arange(inputs.shape[-2], device=inputs.device)
    columns = torch.arange(inputs.shape[-1], device=inputs.device)
    return ((rows >= top) & (rows < bottom)).unsqueeze(1) & ((columns >= left) & (columns < right))


def _as(inputs: Tensor, share: Number) -> Number:
    return share.to(inputs.dtype) if isinstance(share, Tensor) else share
