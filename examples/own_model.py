"""Train a network of your own on arrays of your own, with a loss of your own, and use it.

python examples/own_model.py
"""

import numpy as np
import torch
from torch import Tensor, nn

import shoal


class Network(nn.Module):
    """Two layers. `input_shape` and `outputs` are filled in by Shoal from the data."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(input_shape[0], 32), nn.Tanh(), nn.Linear(32, outputs))

    def forward(self, x_BF: Tensor) -> Tensor:
        return self.layers(x_BF)


def log_cosh(outputs: Tensor, targets: Tensor) -> Tensor:
    """The logarithm of the hyperbolic cosine of the error: one value an example, [B]."""
    return torch.cosh(outputs.squeeze(1) - targets).log()


def main() -> None:
    """Fit a wave in two dimensions."""
    generator = np.random.default_rng(0)
    x = generator.uniform(-2, 2, size=(1000, 2))
    y = np.sin(x[:, 0]) * x[:, 1]

    run = shoal.train(
        {"optimizer": {"name": "adamw", "lr": 0.01}, "budget": {"epochs": 30}},
        name="wave",
        model=Network,
        loss=log_cosh,
        dataset={"train": (x[:800], y[:800]), "test": (x[800:], y[800:])},
        best={"metric": "valid.r2"},
    )

    print(f"{run.label} is {run.status}; R2 on test: {run.metrics['test.r2']:.3f}")
    losses = [row["valid.loss"] for row in run.history if "valid.loss" in row]
    print(f"valid.loss went from {losses[0]:.3f} to {losses[-1]:.3f} in {len(losses)} evaluations")

    network = run.model()  # in eval mode, on the CPU; it takes inputs as they are in the arrays
    with torch.no_grad():
        print(f"at (1, 1): {network(torch.tensor([[1.0, 1.0]])).item():.3f}, expected {np.sin(1):.3f}")


if __name__ == "__main__":
    main()
