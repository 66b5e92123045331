"""Code that is not Shoal's own is tried on one batch before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import shoal
from shoal.errors import RecipeError

X = np.random.default_rng(0).normal(size=(120, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


class Line(nn.Module):
    """A linear layer from `takes` features to `gives` outputs."""

    def __init__(self, takes: int = 6, gives: int = 2) -> None:
        super().__init__()
        self.layer = nn.Linear(takes, gives)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


class WrongInput(Line):
    def __init__(self) -> None:
        super().__init__(takes=5)


class TooFewOutputs(Line):
    def __init__(self) -> None:
        super().__init__(gives=1)


class NoForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 2)


class Raises(Line):
    def forward(self, x: Tensor) -> Any:
        raise ValueError("not today")


class TwoOutputs(Line):
    def forward(self, x: Tensor) -> Any:
        return self.layer(x), x


class OneRow(Line):
    def forward(self, x: Tensor) -> Any:
        return self.layer(x).mean(0, keepdim=True)


class OnlyPredictsInHalf(Line):
    """As an LSTM on the CPU: in 16 bits there is a kernel for eval mode, and none for training."""

    def forward(self, x: Tensor) -> Any:
        outputs = super().forward(x)
        if outputs.requires_grad and outputs.dtype == torch.float16:
            raise RuntimeError("could not create a primitive")
        return outputs


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Any:
        return self.layer(x)


def a_number(outputs: Tensor, targets: Tensor) -> Any:
    return 3.0


def of_one(outputs: Tensor) -> Tensor:
    return outputs.sum(1)


def raises(outputs: Tensor, targets: Tensor) -> Tensor:
    raise KeyError("weights")


@pytest.mark.parametrize(
    ("model", "loss", "message"),
    [
        (WrongInput, None, r"the model failed on inputs of shape \[32, 6\]: .*multiplied.*test_trial\.py, line \d+"),
        (TooFewOutputs, None, r"the loss failed on outputs of shape \[32, 1\] .* The task expects 2 outputs"),
        (NoForward, None, "missing the required"),
        (Raises, None, r"ValueError: not today \(.*test_trial\.py, line \d+, in forward\)"),
        (TwoOutputs, None, "the model returned tuple: expected one tensor"),
        (OneRow, None, r"the model returned outputs of shape \[1, 2\] for 32 examples"),
        (Line, a_number, "the loss function returned float"),
        (Line, of_one, "the loss failed .* takes 1 positional argument"),
        (Line, raises, r"KeyError: 'weights' \(.*in raises\)"),
    ],
)
def test_what_does_not_fit_is_said_before_a_folder_is_made(model: Any, loss: Any, message: str, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(RecipeError, match=message):
        shoal.train(model=model, loss=loss, dataset=(X, Y), budget={"steps": 2}, runs=runs, quiet=True)
    assert not runs.exists()


def test_a_precision_that_a_model_cannot_be_trained_in_is_refused_before_a_folder_is_made(tmp_path: Path) -> None:
    message = r"precision = fp16: the model failed in training: RuntimeError: could not create .* Choose another\."
    with pytest.raises(RecipeError, match=message):
        train_in("fp16", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
    assert train_in("fp32", tmp_path).status == "finished"


def train_in(precision: str, runs: Path) -> shoal.Run:
    budget = {"steps": 2}
    return shoal.train(
        model=OnlyPredictsInHalf,
        dataset=(X, Y),
        precision=precision,
        budget=budget,
        runs=runs,
        device="cpu",
        quiet=True,
    )


def test_the_trial_leaves_the_first_batch_to_training(tmp_path: Path) -> None:
    """A registered model and the same one from the table draw the same weights and masks: nothing was used up."""
    run = shoal.train(model=Line, dataset=(X, Y), budget={"steps": 4}, runs=tmp_path, quiet=True)
    torch.manual_seed(123)
    again = shoal.train(model=Line, dataset=(X, Y), budget={"steps": 4}, runs=tmp_path, quiet=True, again=True)
    assert run.metrics == again.metrics


def test_lazy_layers_take_their_shape_from_the_data(tmp_path: Path) -> None:
    run = shoal.train(model=Lazy, dataset=(X, Y), budget={"steps": 4}, runs=tmp_path, quiet=True)
    assert run.model()(torch.as_tensor(X[:3])).shape == (3, 2)


def test_a_model_too_large_for_memory_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="does not fit into the memory of cpu"):
        shoal.train("digits_mlp", {"model.width": 10**14}, runs=tmp_path, device="cpu", quiet=True)
