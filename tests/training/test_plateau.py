"""A plateau's controller goes through torch's values, is saved, and reaches the hyperparameter."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim.lr_scheduler import ReduceLROnPlateau

from shoal.errors import InputError
from shoal.recipe.parse import parse
from shoal.recipe.schedule_parts import Plateau as Keys
from shoal.training import Engine, Row, ScheduledHypers
from shoal.training.plateau import Plateau, plateaus

NO_ENGINE = cast(Engine, None)
metrics = st.one_of(
    st.floats(-2, 2), st.sampled_from([0.0, 1.0, 1.00005, 0.99995, float("nan"), float("inf"), float("-inf")])
)


@given(
    sequence=st.lists(metrics, max_size=40),
    higher=st.booleans(),
    factor=st.sampled_from([0.1, 0.5, 0.9]),
    patience=st.integers(0, 4),
    cooldown=st.integers(0, 3),
    threshold=st.sampled_from([0.0, 1e-4, 0.1]),
    mode=st.sampled_from(["rel", "abs"]),
    least=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_it_equals_torchs_on_any_metrics(
    sequence: list[float],
    higher: bool,
    factor: float,
    patience: int,
    cooldown: int,
    threshold: float,
    mode: Any,
    least: float,
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    theirs = ReduceLROnPlateau(
        optimizer,
        mode="max" if higher else "min",
        factor=factor,
        patience=patience,
        threshold=threshold,
        threshold_mode=mode,
        cooldown=cooldown,
        min_lr=least,
        eps=0.0,
    )
    part = Keys(
        factor=factor, patience=patience, cooldown=cooldown, threshold=threshold, threshold_mode=mode, min=least
    )
    ours = Plateau("lr", part, higher=higher)
    changes = 0
    for value in sequence:
        before = ours.factor
        theirs.step(value)
        ours.observe(value)
        changes += ours.factor != before
        assert ours.factor == optimizer.param_groups[0]["lr"]
        assert ours.reductions == changes


def test_a_restored_controller_goes_on_as_the_first_would_have() -> None:
    random = np.random.default_rng(0)
    part = Keys(factor=0.7, patience=1, cooldown=2)
    first = Plateau("lr", part, higher=False)
    for value in random.normal(size=9):
        first.observe(float(value))
    second = Plateau("lr", part, higher=False)
    second.load_state_dict(first.state_dict())
    for value in random.normal(size=30):
        first.observe(float(value))
        second.observe(float(value))
        assert first.state_dict() == second.state_dict()
    assert first.reductions > 3


def test_it_reads_the_metric_of_its_run() -> None:
    made = Plateau("momentum", Keys(metric="valid.accuracy", patience=0), higher=True, run=1)
    assert made.name == "plateau.momentum"
    for accuracy in (0.5, 0.5):
        rows = [Row(run, 1, 1.0, {"valid.accuracy": value}) for run, value in enumerate((0.9, accuracy))]
        made.evaluated(NO_ENGINE, rows)
    assert made.factor == 0.1
    assert made.stop() is None


def test_a_factor_multiplies_the_schedule_and_changes_the_version() -> None:
    recipe = parse({"schedules": {"lr": {"name": "plateau", "warmup_steps": 4, "factor": 0.5, "patience": 0}}})
    controllers = plateaus(recipe, lambda path, metric: False)
    assert list(controllers) == ["lr"]
    made = ScheduledHypers(recipe, {"lr": 0.8}, 10, per_epoch=5, controllers=controllers)
    assert made.block(0, 6)[:, 0, 0].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.8])
    version = made.version
    controllers["lr"].observe(1.0)
    assert made.version == version
    controllers["lr"].observe(1.0)
    assert made.version != version
    assert made.block(2, 6)[:, 0, 0].tolist() == pytest.approx([0.3, 0.4, 0.4, 0.4])


def test_the_path_of_its_metric_is_told_to_who_knows_metrics() -> None:
    asked = list[tuple[str, str]]()

    def higher(path: str, metric: str) -> bool:
        asked.append((path, metric))
        return True

    found = plateaus(parse({"schedules": {"weight_decay": {"name": "plateau", "metric": "valid.f1"}}}), higher)
    assert asked == [("schedules.weight_decay.metric", "valid.f1")]
    assert found["weight_decay"].higher


def test_a_plateau_beside_the_learning_rate_of_swa_is_refused() -> None:
    recipe = parse({"schedules": {"lr": "plateau"}, "average": {"name": "swa", "lr": 0.01}})
    with pytest.raises(InputError, match=r"schedules\.lr\.name = plateau: average\.lr = 0\.01 holds .* Leave out"):
        ScheduledHypers(recipe, {"lr": 0.1}, 100, controllers=plateaus(recipe, lambda path, metric: False))
