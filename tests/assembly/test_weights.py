"""Which weights of a run are meant: those that count, and those that are asked for by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import shoal
from shoal.assembly.weight_source import weights_at
from shoal.assembly.weights import kept, weights_of
from shoal.checkpoints import newest
from shoal.errors import InputError, StoreError
from shoal.store import RunId, create

QUICK = {"budget.steps": 24, "evaluate.every": 8, "optimizer.lr": 0.5, "execution": "eager"}
PICTURES = np.random.default_rng(0).integers(0, 17, size=(3, 1, 8, 8)).astype("uint8")


def train(runs: Path, settings: dict[str, object] | None = None) -> shoal.Run:
    return shoal.train("digits_mlp", {**QUICK, **(settings or {})}, runs=runs, quiet=True)


@pytest.fixture(scope="module")
def averaged(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    return train(tmp_path_factory.mktemp("averaged"), {"average": "ema", "average.decay": 0.9})


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    """The best weights are raw ones, of another step than the last."""
    settings = {"average": "ema", "best.metric": "valid.accuracy", "optimizer.lr": 1.5, "schedules.lr": "constant"}
    longer = {"budget.steps": 30, "evaluate.every": 10}
    return train(tmp_path_factory.mktemp("everything"), {**settings, **longer})


def saved(run: shoal.Run) -> dict[str, Mapping[str, Tensor]]:
    loaded = newest(run.location.checkpoints)
    assert loaded is not None
    engine = loaded.states["engine"]
    return {"raw": engine["parameters"], "average": engine["average"]["measured"], "best": engine["best"]}


def same(model: nn.Module, weights: Mapping[str, Tensor]) -> bool:
    return all(torch.equal(value, weights[name]) for name, value in model.named_parameters())


def test_averaged_weights_count_where_no_best_were_kept(averaged: shoal.Run) -> None:
    found, trees = kept(averaged.location), saved(averaged)
    assert list(found.trees) == ["raw", "average"]
    assert found.counting == "average"
    assert same(averaged.model(), trees["average"])
    assert same(averaged.model(weights="average"), trees["average"])
    assert same(averaged.model(weights="raw"), trees["raw"])
    assert not same(averaged.model(), trees["raw"])


def test_the_best_count_where_they_were_kept(everything: shoal.Run) -> None:
    trees = saved(everything)
    assert kept(everything.location).counting == "best"
    assert same(everything.model(), trees["best"])
    for kind, tree in trees.items():
        model = everything.model(weights=kind)
        assert [name for name, other in trees.items() if same(model, other)] == [kind]
        assert same(model, tree)


def test_predictions_are_of_the_weights_that_are_asked_for(averaged: shoal.Run) -> None:
    outputs = {kind: averaged.predict(PICTURES, weights=kind).outputs for kind in (None, "raw", "average")}
    assert torch.equal(outputs[None], outputs["average"])
    assert not torch.equal(outputs["raw"], outputs["average"])
    with torch.inference_mode():
        assert torch.equal(outputs["raw"], averaged.model(weights="raw")(torch.as_tensor(PICTURES)))


def test_training_starts_from_those_that_count(averaged: shoal.Run) -> None:
    found, _ = weights_at(str(averaged.folder), averaged.folder.parents[1])
    assert all(torch.equal(found[name], value) for name, value in saved(averaged)["average"].items())


def test_what_the_run_does_not_have_is_refused_with_what_it_has(averaged: shoal.Run, tmp_path: Path) -> None:
    with pytest.raises(InputError) as refused:
        averaged.model(weights="best")
    assert str(refused.value) == (
        f"weights = best: {averaged.label} has raw and average weights. Best weights are kept where best.metric says "
        "by which metric, from the start of the training."
    )
    with pytest.raises(InputError, match=r"weights = 'averaged': did you mean 'average'\? expected raw, average or"):
        averaged.predict(PICTURES, weights="averaged")
    plain = train(tmp_path)
    with pytest.raises(InputError, match=r"has raw weights\. Averaged ones are kept where the recipe has an average"):
        plain.test(weights="average")
    with pytest.raises(InputError, match=r"has raw weights"):
        plain.export(weights=tmp_path / "w.safetensors", which="average", quiet=True)


def test_an_average_that_has_not_begun_is_none(tmp_path: Path) -> None:
    late = {"average": "swa", "average.start": 0.9, "average.every": 1, "early_stop.patience": 1}
    run = train(tmp_path, {**late, "optimizer.lr": 50.0, "schedules.lr": "constant"})
    assert run.record["reason"].startswith("early stop")
    assert list(kept(run.location).trees) == ["raw"]
    assert same(run.model(), saved(run)["raw"])


def test_a_run_that_was_never_trained_has_none(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no checkpoint yet: train it first"):
        weights_of(create(tmp_path, RunId("run", "0" * 32, 0)))
