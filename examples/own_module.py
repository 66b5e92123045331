"""Entries of your own: a dataset, a model and a task that a recipe can name.

    cd examples
    shoal train rings --module own_module --config-dir presets
    shoal train rings --module own_module --config-dir presets model.waves=4 task.smoothing=0.2

The annotated parameters of each factory become keys of the recipe, with their defaults; `input_shape` and `outputs` are
filled in. Nothing is imported because a file says so: `shoal test` on such a run needs `--module own_module` again.
"""

from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import shoal


@shoal.dataset("rings")
def rings(examples: int = 1500, noise: float = 0.15):
    """Points on three rings about the origin; the label is the ring."""
    generator = np.random.default_rng(0)
    label = generator.integers(3, size=examples)
    angle = generator.uniform(0, 2 * np.pi, size=examples)
    radius = 1 + label + noise * generator.normal(size=examples)
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    cut = examples * 4 // 5
    return {"train": (points[:cut], label[:cut]), "test": (points[cut:], label[cut:])}


@shoal.model("fourier")
class Fourier(nn.Module):
    """A linear model of `waves` random sines and cosines of the inputs (arXiv 2006.10739)."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, waves: int = 32):
        super().__init__()
        self.register_buffer("directions", torch.randn(input_shape[0], waves))
        self.output = nn.Linear(2 * waves, outputs)

    def forward(self, x_BF: Tensor) -> Tensor:
        phase_BW = x_BF @ self.directions
        return self.output(torch.cat([phase_BW.sin(), phase_BW.cos()], dim=1))


@shoal.task("smoothed")
def smoothed(smoothing: float = 0.1):
    """Cross entropy with smoothed labels: one value an example. Metrics are those of classification."""
    return partial(F.cross_entropy, reduction="none", label_smoothing=smoothing)
