"""What is allowed and may not be meant is said once, as the training starts."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from tests.datasets.test_workers import Augmented

import shoal
from shoal.assembly import Screen, conduct
from shoal.recipe.compose import compose

QUICK = ["budget.steps=2", "evaluate.every=2", "execution=eager"]
LBFGS = "optimizer=lbfgs computes loss and gradient up to"
WORKERS = "dataset.workers = 2 has no effect: the examples of dataset.name = digits are in memory"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["optimizer=lbfgs"], f"{LBFGS} 25 times a step, here on 32 examples only"),
        (["optimizer=lbfgs", "optimizer.evaluations=3"], f"{LBFGS} 3 times a step"),
        (["dataset.workers=2"], WORKERS),
        (["optimizer=lbfgs", "batch_size=all", "optimizer.iterations=2"], None),
        (["optimizer=sgd"], None),
    ],
)
def test_it_is_said_once_and_only_where_it_is_so(words: list[str], told: str | None, tmp_path: Path) -> None:
    said = io.StringIO()
    conduct(compose("digits_mlp", [*QUICK, *words]), runs=tmp_path, screen=Screen(said))
    if told is not None:
        assert said.getvalue().count(told) == 1
    assert (LBFGS in said.getvalue()) == bool(told and LBFGS in told)
    assert ("has no effect" in said.getvalue()) == bool(told and WORKERS in told)


def test_workers_that_have_something_to_read_are_no_matter(tmp_path: Path) -> None:
    keys = {"budget.steps": 2, "evaluate.every": 2, "batch_size": 4, "model": "mlp", "dataset.workers": 1}
    run = shoal.train({}, keys, dataset=Augmented(), runs=tmp_path, quiet=True)
    assert "has no effect" not in (run.folder / "train.log").read_text()
