"""The weights that count of a run: the best where it kept them, else averaged ones, else the last."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
import torch
from torch import Tensor

import shoal
from shoal.assembly import Screen, conduct
from shoal.assembly.weights import weights_of
from shoal.checkpoints import newest
from shoal.errors import StoreError
from shoal.recipe.compose import compose
from shoal.store import RunFolder, read_journal

QUICK = ["budget.steps=24", "evaluate.every=8", "model.norm=batch", "optimizer.lr=0.2"]
AVERAGES = {
    "ema": ["average=ema", "average.decay=0.9"],
    "swa": ["average=swa", "average.start=0.3", "average.every=4"],
    "lookahead": ["average=lookahead", "average.every=5"],
}


def trained(runs: Path, *words: str) -> tuple[RunFolder, dict[str, dict[str, Tensor]]]:
    """Train a run; return its folder and what its last checkpoint has of weights."""
    folder = conduct(compose("digits_mlp", [*QUICK, *words]), runs=runs, screen=Screen(io.StringIO()))
    loaded = newest(folder.checkpoints)
    assert loaded is not None
    engine = loaded.states["engine"]
    last = {**engine["parameters"], **engine["buffers"]}
    return folder, {"last": last, "best": engine["best"], "average": engine["average"]["measured"]}


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[name], value) for name, value in wanted.items())


def test_they_are_the_last_where_a_recipe_asks_for_nothing_else(tmp_path: Path) -> None:
    folder, found = trained(tmp_path)
    assert found["best"] is None
    assert found["average"] is None
    assert same(weights_of(folder), found["last"])


@pytest.mark.parametrize("execution", ["eager", "captured"])
@pytest.mark.parametrize("name", AVERAGES)
def test_they_are_the_average_where_there_is_one(name: str, execution: str, tmp_path: Path) -> None:
    """With the statistics of batch norms that belong to it: it is measured again as it was while training."""
    folder, found = trained(tmp_path, *AVERAGES[name], f"execution={execution}")
    assert same(weights_of(folder), found["average"])
    assert not same(found["average"], found["last"])
    rows, _ = read_journal(folder.history)
    measured = [row["valid_average.loss"] for row in rows if "valid_average.loss" in row][-1]
    assert shoal.load(folder.path).test(split="valid")["valid_average.loss"] == pytest.approx(measured, rel=1e-5)
    assert rows[-1].keys() >= {"test.loss", "test_average.loss"}


@pytest.mark.parametrize("metric", ["valid.loss", "valid_average.loss"])
def test_they_are_the_best_where_a_metric_says_which(metric: str, tmp_path: Path) -> None:
    folder, found = trained(tmp_path, *AVERAGES["swa"], f"best.metric={metric}", "evaluate.every=4")
    assert same(weights_of(folder), found["best"])
    rows, _ = read_journal(folder.history)
    best = min(row[metric] for row in rows if metric in row)
    assert shoal.load(folder.path).test(split="valid")["valid.loss"] == pytest.approx(best, rel=1e-5)


def test_a_run_without_a_checkpoint_has_none(tmp_path: Path) -> None:
    folder, _ = trained(tmp_path)
    for path in folder.checkpoints.iterdir():
        path.rename(folder.path / path.name)
    with pytest.raises(StoreError, match="has no checkpoint yet: train it first"):
        weights_of(folder)
