"""Which augmentations a recipe asks for, applied to a batch; and whether the dataset's examples can bear them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from shoal import rng
from shoal.augment.pictures import ENTRIES
from shoal.errors import RecipeError
from shoal.recipe.schema import Regularise


@dataclass(frozen=True)
class Augment:
    """Augmentations of pictures; a field is the key of that name in `regularise`, and False, 0 or None is off."""

    flip: bool = False
    translate: int = 0
    crop: float | None = None
    cutout: int = 0

    @classmethod
    def of(cls, regularise: Regularise) -> Augment | None:
        """Return what a recipe asks for; None where that is nothing."""
        augment = cls(**{name: getattr(regularise, name) for name in ENTRIES})
        return augment if augment.in_use() else None

    def in_use(self) -> dict[str, Any]:
        """Return the values of those that are on, in the order of their application."""
        return {name: value for name in ENTRIES if (value := getattr(self, name))}

    def __call__(self, inputs: Tensor, index: Tensor, key: Tensor | int) -> Tensor:
        """Return pictures [B, C, H, W] changed; what happens to an example depends on (key, its index) alone.

        `index` [B] int64 are the rows of the examples; `key` is `rng.key53(seed, "augment", epoch)`, as an int or a
        tensor []. Nothing waits for the device.
        """
        in_use = self.in_use()
        if not in_use:
            return inputs
        u = rng.uniform(key, index, max(ENTRIES[name].columns.stop for name in in_use))
        for name, value in in_use.items():
            inputs = ENTRIES[name].apply(inputs, u[:, ENTRIES[name].columns], value)
        return inputs


def check(augment: Augment, input_shape: tuple[int, ...]) -> None:
    """Raise RecipeError where examples of that shape are no pictures, or too small for what is asked."""
    for name, value in augment.in_use().items():
        said = f"regularise.{name}" if value is True else f"regularise.{name} = {value}"
        if len(input_shape) != 3:
            raise RecipeError(
                f"{said}: examples of this dataset have shape {list(input_shape)}: expected pictures [channels, "
                f"height, width]. Leave regularise.{name} out, or give the examples that shape."
            )
        height, width = input_shape[1:]
        most = {"translate": min(height, width) - 1, "cutout": min(height, width)}.get(name)
        if most is not None and value > most:
            advice = f"Give at most {most}" if most else f"Leave regularise.{name} out"
            raise RecipeError(
                f"{said}: the pictures of this dataset have {width}x{height} pixels, of which it would leave nothing: "
                f"expected at most {most}. {advice}."
            )
