"""Values for one batch size, rescaled for another: the numbers of each rule, the reasons, and what has none."""

from __future__ import annotations

import math
from typing import Any

import pytest

from shoal.errors import InputError
from shoal.recipe.parse import parse
from shoal.recipe.scaling import Change, scaled, sentences
from shoal.recipe.schema import Recipe


def recipe(**keys: Any) -> Recipe:
    return parse({"scale_from": {"batch_size": 128}, **keys})


def after(changes: list[Change]) -> dict[str, float]:
    return {change.key: change.after for change in changes}


def test_sgd_scales_linearly_and_keeps_momentum_and_decay() -> None:
    given = recipe(optimizer={"name": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 5e-4})
    made, changes = scaled(given, 512)
    assert after(changes) == {"optimizer.lr": 0.4}
    assert made == given.model_copy(update={"optimizer": given.optimizer.model_copy(update={"lr": 0.4})})


@pytest.mark.parametrize("batch_size", [512, 32])
def test_adamw_scales_by_the_square_root(batch_size: int) -> None:
    keys = {"name": "adamw", "lr": 1e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}
    made, changes = scaled(recipe(optimizer=keys), batch_size)
    k = batch_size / 128
    expected = {
        "lr": 1e-3 * math.sqrt(k),
        "beta1": 1 - k * 0.1,
        "beta2": 1 - k * 0.01,
        "eps": 1e-8 / math.sqrt(k),
        "weight_decay": 0.1 * math.sqrt(k),
    }
    assert {key: getattr(made.optimizer, key) for key in expected} == pytest.approx(expected)
    assert after(changes) == pytest.approx({f"optimizer.{key}": value for key, value in expected.items()})
    # what decoupled decay does in an epoch stays: lr * weight_decay, 1/k times as often
    assert made.optimizer.lr * made.optimizer.weight_decay == pytest.approx(k * 1e-4)


def test_a_beta_that_would_leave_nothing_is_refused_with_the_largest_batch() -> None:
    with pytest.raises(
        InputError,
        match=r"optimizer\.beta1 = 0\.9: a batch 10 times .* expected more than 0\. Take a batch_size of at most 1152",
    ):
        scaled(recipe(optimizer="adamw"), 1280)
    scaled(recipe(optimizer="adamw"), 1152)


def test_a_beta_of_zero_remembers_nothing_and_stays() -> None:
    made, changes = scaled(recipe(optimizer={"name": "adamw", "beta1": 0, "beta2": 0.999}), 2560)
    assert made.optimizer.model_dump()["beta1"] == 0
    assert "optimizer.beta1" not in after(changes)


def test_steps_and_averages_cover_as_many_examples() -> None:
    made, changes = scaled(
        recipe(
            schedules={
                "lr": {"name": "cosine", "warmup_steps": 101},
                "momentum": {"name": "inverse_sqrt", "timescale_steps": 1},
            },
            average={"name": "ema", "decay": 0.999},
        ),
        512,
    )
    assert made.schedules.lr.warmup_steps == 25
    assert after(changes)["schedules.lr.warmup_steps"] == 25
    assert "schedules.momentum.timescale_steps" not in after(changes)
    assert made.average.model_dump()["decay"] == pytest.approx(0.999**4)


def test_the_learning_rate_of_swa_goes_with_the_optimizers() -> None:
    made, _ = scaled(recipe(average={"name": "swa", "lr": 0.05, "anneal_steps": 40}), 256)
    assert made.average.model_dump() | {"lr": 0.1, "anneal_steps": 20} == made.average.model_dump()


@pytest.mark.parametrize("batch_size", [128, 32])
def test_without_a_difference_nothing_changes(batch_size: int) -> None:
    given = recipe(optimizer="adamw", average="ema") if batch_size == 128 else parse({"optimizer": "adamw"})
    made, changes = scaled(given, batch_size)
    assert made is given
    assert changes == []


def test_an_optimizer_without_a_published_rule_keeps_its_values_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.recipe.scaling.LINEAR", set[str]())
    given = recipe(optimizer="sgd", schedules={"lr": {"warmup_steps": 8}})
    made, changes = scaled(given, 256)
    assert made.optimizer == given.optimizer
    assert made.schedules.lr.warmup_steps == 4
    assert sentences(changes)[0].startswith("optimizer.lr: 0.1 stays: a note: no rule is published for sgd")


@pytest.mark.parametrize("name", ["demon_adam", "muon", "adafactor", "adagrad", "adadelta", "schedule_free"])
def test_it_keeps_its_weight_decay_too(name: str) -> None:
    given = recipe(optimizer={"name": name, "weight_decay": 0.1})
    made, changes = scaled(given, 512)
    assert made.optimizer == given.optimizer
    assert [change.key for change in changes] == ["optimizer.lr"]
    assert f"no rule is published for {name}" in sentences(changes)[0]


ROOTS: dict[str, tuple[dict[str, float], dict[str, float]]] = {
    "rmsprop": ({"lr": 0.01, "alpha": 0.99, "eps": 1e-8}, {"lr": 0.02, "alpha": 0.96, "eps": 5e-9}),
    "adam": (
        {"lr": 1e-3, "beta1": 0.9, "beta2": 0.999, "eps": 1e-8},
        {"lr": 2e-3, "beta1": 0.6, "beta2": 0.996, "eps": 5e-9},
    ),
}
"""What is rescaled of those that divide by a root, and what it becomes for a batch four times as large."""


@pytest.mark.parametrize("name", ["rmsprop", "adam", "nadam", "radam", "adamax"])
def test_what_divides_by_a_running_mean_scales_by_the_square_root(name: str) -> None:
    before, expected = ROOTS.get(name, ROOTS["adam"])
    made, changes = scaled(recipe(optimizer={"name": name, **before, "weight_decay": 0.1}), 512)
    assert after(changes) == pytest.approx({f"optimizer.{key}": value for key, value in expected.items()})
    assert made.optimizer.weight_decay == 0.1, "L2 decay is a part of the loss"


@pytest.mark.parametrize("name", ["nadam", "radam"])
def test_decay_that_an_optimizer_is_told_to_decouple_keeps_its_time(name: str) -> None:
    made, _ = scaled(recipe(optimizer={"name": name, "decoupled": True, "weight_decay": 0.1}), 512)
    assert made.optimizer.weight_decay == pytest.approx(0.2)


def test_lion_scales_by_the_square_root_without_its_betas() -> None:
    _, changes = scaled(recipe(optimizer={"name": "lion", "lr": 1e-4, "weight_decay": 1.0}), 512)
    assert after(changes) == pytest.approx({"optimizer.lr": 2e-4, "optimizer.weight_decay": 2.0})


def test_what_counts_steps_by_another_name_stays() -> None:
    """Nadam's momentum_decay and the interval of Lookahead are constants of a step, and no rule is published."""
    keys = {"name": "nadam", "momentum_decay": 4e-3}
    _, changes = scaled(recipe(optimizer=keys, average={"name": "lookahead", "every": 8}), 256)
    assert not {"optimizer.momentum_decay", "average.every"} & set(after(changes))


def test_a_budget_in_steps_is_noted() -> None:
    made, changes = scaled(recipe(budget={"steps": 1000}), 256)
    assert made.budget.steps == 1000
    assert "so many steps are now 2 times as many epochs" in sentences(changes)[-1]


def test_every_change_has_a_sentence_with_its_source() -> None:
    _, changes = scaled(recipe(optimizer="adamw", average="ema", schedules={"lr": {"warmup_steps": 8}}), 256)
    said = sentences(changes)
    assert len(said) == len(changes) == 7
    for change, sentence in zip(changes, said, strict=True):
        assert sentence.startswith(f"{change.key}: ")
        assert "arXiv" in sentence


def test_the_result_is_a_recipe_that_can_be_written_and_read() -> None:
    made, _ = scaled(recipe(optimizer="adamw", average="ema"), 64)
    assert parse(made.mapping()) == made
