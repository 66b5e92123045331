"""A network that branches on what it is given, twice: in Python, for eager steps, and by torch.cond, to be captured.

python examples/branching_model.py
"""

import numpy as np
import torch
from torch import Tensor, nn

import shoal


class InPython(nn.Module):
    """Takes one way through the network or the other by an `if`: a dynamic graph. It trains eagerly."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__()
        self.first = nn.Linear(input_shape[0], 32)
        self.second = nn.Linear(32, 32)
        self.output = nn.Linear(32, outputs)

    def forward(self, x_BF: Tensor) -> Tensor:
        h_BH = self.first(x_BF)
        if x_BF.mean() > 0:  # Python asks for the value: a recording could hold one of the two ways only
            return self.output(self.deep(h_BH))
        return self.output(self.shallow(h_BH))

    def deep(self, h_BH: Tensor) -> Tensor:
        """One way: another layer."""
        return torch.tanh(self.second(torch.tanh(h_BH)))

    def shallow(self, h_BH: Tensor) -> Tensor:
        """The other way."""
        return torch.tanh(h_BH)


class ByCond(InPython):
    """The same network as a static graph that holds both ways: it is recorded once and replayed."""

    def forward(self, x_BF: Tensor) -> Tensor:
        h_BH = self.first(x_BF)
        return self.output(torch.cond(x_BF.mean() > 0, self.deep, self.shallow, (h_BH,)))


def main() -> None:
    """Train both on the same data from the same weights."""
    generator = np.random.default_rng(0)
    x = generator.uniform(-2, 2, size=(640, 2))
    y = np.sin(x[:, 0]) * x[:, 1]
    data = {"train": (x, y)}
    # The weights of a way that a step does not take have no gradient in Python, and one of zeros by torch.cond. Plain
    # SGD leaves them alone in both cases; with momentum they would go on moving in the second.
    optimizer = {"name": "sgd", "lr": 0.05, "momentum": 0.0}
    recipe = {"task": {"name": "regression"}, "optimizer": optimizer, "budget": {"epochs": 20}}

    ended = []
    for model in (InPython, ByCond):
        run = shoal.train(recipe, name=model.__name__, model=model, dataset=data, execution="captured")
        plan, seconds = run.record["plan"], run.record["times"]["training"]
        print(f"{model.__name__}: {plan['execution']}, R2 {run.metrics['valid.r2']:.4f}, {seconds:.2f} s of steps")
        ended.append(torch.cat([p.detach().flatten() for p in run.model(normalised=False).parameters()]))

    apart = (ended[0] - ended[1]).norm() / ended[0].norm()
    print(f"the weights differ by {apart:.1e} of their size")


if __name__ == "__main__":
    main()
