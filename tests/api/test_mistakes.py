"""What a person can pass by mistake from Python, and what is said about it."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import shoal
from shoal.errors import DataError, RecipeError, StoreError

X = np.random.default_rng(0).normal(size=(120, 6)).astype("float32")
Y = (X[:, 0] > 0).astype("int64")


class Net(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    return F.cross_entropy(outputs, targets, reduction="none", label_smoothing=0.1)


def train(runs: Path, *words: Any, **settings: Any) -> shoal.Run:
    given: dict[str, Any] = {"model": Net, "dataset": (X, Y), "budget": {"steps": 3}, **settings}
    return shoal.train(*words, runs=runs, quiet=True, **given)


def test_keys_of_a_mapping_are_those_of_the_object_that_is_passed_beside_it(tmp_path: Path) -> None:
    dataset: Any = train(tmp_path, {"dataset.normalise": False}).recipe.dataset
    assert dataset.normalise is False
    replaced: Any = train(tmp_path, {"dataset": "digits", "dataset.normalise": False}).recipe.dataset
    assert (replaced.name, replaced.normalise) == ("arrays", True)
    with pytest.raises(RecipeError, match=r"unknown key dataset\.normalize: did you mean dataset\.normalise\?"):
        train(tmp_path, {"dataset.normalize": False})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": Net((6,), 2)}, r"found an instance of Net\. Pass what builds it \(model=Net\)"),
        ({"model": lambda: Net((6,), 2)}, "a lambda has no name"),
        ({"model": 3}, "expected a class, a function or the name of a model, found 3"),
        ({"model": functools.partial(Net, outputs=np.int64(2))}, "bind numbers, texts"),
        ({"loss": nn.CrossEntropyLoss()}, "expected a function of .* found CrossEntropyLoss"),
        ({"loss": nn.CrossEntropyLoss}, "expected a function of .* found CrossEntropyLoss"),
        ({"loss": "mse"}, "expected a function of .* found 'mse'"),
        ({"loss": lambda o, t: o.sum(1)}, r"a lambda has no name .* functools\.partial\.$"),
        ({"optimizer": torch.optim.Adam}, r"your own optimizer needs a name: .*@shoal\.optimizer\('my-optimizer'\)"),
        ({"task": loss}, "To replace the loss alone, pass loss=loss"),
        ({"batchsize": 3}, "did you mean batch_size"),
    ],
)
def test_what_is_no_part_of_a_training_is_refused_with_what_to_pass(
    settings: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=message):
        train(tmp_path, **settings)


@pytest.mark.parametrize("recipe", [["digits"], 3])
def test_a_recipe_is_a_name_a_recipe_or_a_mapping(recipe: Any, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"expected a preset's name, a shoal\.Recipe or a mapping of keys"):
        train(tmp_path, recipe)


def test_a_mapping_may_have_dotted_keys(tmp_path: Path) -> None:
    dotted = train(tmp_path, {"optimizer.lr": 0.05, "batch_size": 16})
    nested = train(tmp_path, {"optimizer": {"lr": 0.05}, "batch_size": 16})
    assert dotted.recipe.optimizer.lr == 0.05
    assert dotted.signature == nested.signature


def test_training_records_gradients_where_the_caller_has_switched_them_off(tmp_path: Path) -> None:
    plain = train(tmp_path, seed=1)
    for number, off in enumerate((torch.no_grad, torch.inference_mode)):
        with off():
            run = train(tmp_path / str(number), seed=1)
        assert run.metrics == plain.metrics


def test_arguments_bound_to_a_loss_are_part_of_identity(tmp_path: Path) -> None:
    sharp = functools.partial(F.cross_entropy, reduction="none")
    smooth = functools.partial(F.cross_entropy, reduction="none", label_smoothing=0.1)
    for recipe in (None, shoal.Recipe()):
        assert train(tmp_path, recipe, loss=sharp).signature != train(tmp_path, recipe, loss=smooth).signature


def test_a_loss_from_python_must_be_passed_again_to_measure(tmp_path: Path) -> None:
    for recipe in (None, shoal.Recipe()):
        run = train(tmp_path, recipe, loss=loss)
        with pytest.raises(StoreError, match=r"trained with a loss from Python, .* loss=FUNCTION"):
            shoal.load(run.folder, model=Net, dataset=(X, Y)).test(split="valid")
        again = shoal.load(run.folder, model=Net, dataset=(X, Y), loss=loss).test(split="valid")
        assert again["valid.loss"] == run.metrics["valid.loss"]


def test_data_from_python_must_be_passed_again_to_measure(tmp_path: Path) -> None:
    run = train(tmp_path)
    with pytest.raises(StoreError, match=r"trained with a dataset from Python, .* dataset=DATA"):
        shoal.load(run.folder, model=Net).test(split="valid")
    with pytest.raises(DataError, match=r"not those that .* Pass those of the training"):
        shoal.load(run.folder, model=Net, dataset=(X + 1, Y)).test(split="valid")


def test_a_model_from_python_must_be_passed_again(tmp_path: Path) -> None:
    run = train(tmp_path)
    with pytest.raises(StoreError, match=r"passed from Python .* model=Net\)"):
        shoal.load(run.folder).model()
    with pytest.raises(RecipeError, match="found an instance of Net"):
        shoal.load(run.folder, model=Net((6,), 2)).model()
    assert torch.equal(shoal.load(run.folder, model=Net).model()(X[:5]), run.model()(X[:5]))


def test_an_external_loss_without_the_loss_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="Pass it again: loss=FUNCTION"):
        shoal.train("digits_mlp", {"task": "external"}, runs=tmp_path, quiet=True)
