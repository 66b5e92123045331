"""Several labels an example: its numbers against scikit-learn and torch, and the targets that it refuses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score, hamming_loss
from torch import Tensor

import shoal
from shoal.errors import RecipeError
from shoal.recipe import parse
from shoal.tasks import Targets, Task, build, register

from .means import measure, padded, whole

CPU = torch.device("cpu")


def multilabel(
    shape: tuple[int, ...] = (4,),
    classes: int | None = None,
    several: bool | None = True,
    shares: Sequence[float] | None = None,
    **keys: Any,
) -> Task:
    part = parse({"task": {"name": "multilabel", **keys}}).task
    facts: dict[str, Any] = {"multilabel": several, "label_shares": shares}
    return build(part, Targets(classes, shape, None, CPU, **facts))


def data(n: int = 101) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    targets = (torch.rand(n, 4, generator=generator) < torch.tensor([0.1, 0.3, 0.5, 0.9])).float()
    return 2 * targets - 1 + 1.5 * torch.randn(n, 4, generator=generator), targets


def test_the_loss_is_the_mean_binary_cross_entropy_of_an_examples_labels() -> None:
    outputs, targets = data()
    losses = multilabel().loss(outputs, targets)
    p = torch.sigmoid(outputs.double())
    expected = -(targets * p.log() + (1 - targets) * (1 - p).log()).mean(1)
    torch.testing.assert_close(losses.double(), expected, rtol=1e-5, atol=1e-6)


def test_a_large_logit_has_a_finite_loss() -> None:
    losses = multilabel((2,)).loss(torch.tensor([[500.0, -500.0]]), torch.tensor([[0.0, 1.0]]))
    assert losses.tolist() == [500.0]


@pytest.mark.parametrize("size", [8, 101])
def test_the_metrics_are_scikit_learns_whatever_the_batch_size(size: int) -> None:
    outputs, targets = data()
    task, batches = multilabel(), padded(outputs, targets, size)
    y, p = targets.numpy(), (outputs > 0).numpy()
    assert measure(task.metrics["exact_match"], batches) == pytest.approx(accuracy_score(y, p))
    assert measure(task.metrics["accuracy"], batches) == pytest.approx(1 - hamming_loss(y, p))
    assert measure(task.metrics["f1"], batches) == pytest.approx(f1_score(y, p, average="micro"))
    assert all(metric.higher_is_better for metric in task.metrics.values())


def test_f1_of_no_label_at_all_is_nan() -> None:
    assert math.isnan(whole(multilabel().metrics["f1"], -torch.ones(5, 4), torch.zeros(5, 4)))


def test_a_positive_weight_multiplies_the_terms_of_labels_that_are_there() -> None:
    outputs, targets = data()
    plain, weighted = multilabel(), multilabel(positive_weights=[1, 2, 0.5, 3])
    there = torch.nn.functional.softplus(-outputs) * targets
    extra = (there * torch.tensor([0.0, 1.0, -0.5, 2.0])).mean(1)
    torch.testing.assert_close(weighted.loss(outputs, targets), plain.loss(outputs, targets) + extra)


def test_balanced_weights_make_both_answers_weigh_the_same() -> None:
    outputs, targets = data()
    shares = targets.double().mean(0)
    balanced = multilabel(shares=shares.tolist(), positive_weights="balanced")
    given = multilabel(positive_weights=((1 - shares) / shares).tolist())
    torch.testing.assert_close(balanced.loss(outputs, targets), given.loss(outputs, targets))


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"shape": (), "classes": 3}, r"labels of 3 classes, one an example: expected .*task=classification"),
        ({"shape": ()}, r"a target of this dataset has shape \[\]: expected an array \[N, K\] of 0 and 1"),
        ({"shape": (2, 2)}, r"has shape \[2, 2\]: expected an array \[N, K\]"),
        ({"several": False}, r"hold other values than 0 and 1.*task=regression"),
        ({"positive_weights": [1, 2]}, r"has 2 weights and a target of this dataset has 4 labels"),
        ({"positive_weights": "balanced"}, r"is not known for this dataset.*positive_weights=\[1.0,2.0"),
        ({"positive_weights": "balanced", "shares": [0.5, 0.0, 0.2, 1.0]}, r"or none, have label 1, 3"),
    ],
)
def test_targets_and_weights_that_do_not_fit_are_refused(facts: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        multilabel(**facts)


@pytest.mark.parametrize("name", ["classification", "regression"])
def test_other_tasks_send_such_targets_here(name: str) -> None:
    facts: dict[str, Any] = {"classes": None, "target_shape": (4,), "class_counts": None, "device": CPU}
    with pytest.raises(RecipeError, match=r"4 (values|integers) of 0 and 1, several labels .* Choose task=multilabel"):
        build(parse({"task": name}).task, Targets(**facts, multilabel=True))


def test_a_loss_of_ones_own_keeps_the_metrics_of_several_labels() -> None:
    register("own_loss", lambda: torch.nn.BCEWithLogitsLoss())
    facts: dict[str, Any] = {"classes": None, "target_shape": (4,), "class_counts": None, "device": CPU}
    assert set(build(parse({"task": "own_loss"}).task, Targets(**facts, multilabel=True)).metrics) == {
        "accuracy", "exact_match", "f1"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "dtype"), [("python", "bool"), ("python", "float32"), ("npz", "uint8"), ("folder", "int64")]
)
def test_a_run_learns_several_labels_from_every_source(kind: str, dtype: str, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(300, 5)).astype("f4")
    y = (x[:, :3] + 0.1 * np.random.default_rng(1).normal(size=(300, 3)) > 0.3).astype(dtype)
    keys: dict[str, Any] = {"budget": {"epochs": 8}, "model": "mlp", "task": {"name": "multilabel"}}
    keys |= {"optimizer": {"name": "adamw", "lr": 0.02}, "runs": tmp_path / "runs", "quiet": True}
    source: Any = {"train": (x[:200], y[:200]), "test": (x[200:], y[200:])}
    arrays = {f"{letter}_{split}": pair[i] for split, pair in source.items() for i, letter in enumerate("xy")}
    if kind == "npz":
        np.savez(tmp_path / "data.npz", **arrays)
        source = {"name": "arrays", "path": str(tmp_path / "data.npz")}
    elif kind == "folder":
        for name, array in arrays.items():
            np.save(tmp_path / f"{name}.npy", array)
        source = {"name": "arrays", "path": str(tmp_path)}
    run = shoal.train(dataset=source, **{**keys, "task": {"name": "multilabel", "positive_weights": "balanced"}})
    assert run.metrics["test.accuracy"] > 0.9
    assert run.metrics["test.exact_match"] <= run.metrics["test.accuracy"]
    assert run.metrics["test.f1"] > 0.85
    assert run.test()["test.f1"] == run.metrics["test.f1"]


def test_the_default_task_says_which_one_to_choose(tmp_path: Path) -> None:
    x, y = np.zeros((60, 2), "f4"), np.eye(3, dtype=int)[np.arange(60) % 3]
    with pytest.raises(RecipeError, match="Choose task=multilabel; or turn one-hot targets into labels with argmax"):
        shoal.train(dataset=(x, y), model="mlp", runs=tmp_path, quiet=True)
    with pytest.raises(RecipeError, match="Choose task=multilabel, or convert the targets to float"):
        shoal.train(dataset=(x, y), model="mlp", task="regression", runs=tmp_path, quiet=True)
    run = shoal.train(
        dataset=(x, y.astype("f4")), model="mlp", task="regression", runs=tmp_path, quiet=True, budget={"steps": 2}
    )
    assert "valid.r2" in run.metrics
