"""What is said about a run is true of its numbers, and nothing is said that they do not show."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.pages.findings import findings, interval, trend

Rows = list[dict[str, Any]]


def rows(train: list[float], valid: list[float], **more: list[float]) -> Rows:
    made: Rows = []
    for at, (first, second) in enumerate(zip(train, valid, strict=True)):
        row = {"step": 10 * (at + 1), "epoch": at + 1.0, "train.loss": first, "valid.loss": second}
        made.append({**row, **{key.replace("_", "."): values[at] for key, values in more.items()}})
    return made


def said(known: dict[str, Any], history: Rows, *, ended: bool = True) -> str:
    return " ".join(findings(known, history, ended=ended))


FALLING = [2.0 * 0.8**at for at in range(20)]
NOISE = random.Random(0)


def test_a_metric_that_still_improves_is_said_to() -> None:
    told = said({}, rows(FALLING, [value + 0.1 for value in FALLING]))
    assert "valid.loss ended at its best value" in told
    assert "valid.loss was still improving at the end: more steps may help." in told
    assert "overfits" not in told


def test_noise_about_a_level_is_no_trend() -> None:
    for _ in range(50):
        level = [2.0 * 0.3**at + 0.5 + NOISE.gauss(0, 0.02) for at in range(30)]
        told = said({}, rows(FALLING + [0.01] * 10, level))
        assert "overfits" not in told
        if "neither rose nor fell" in told:
            break
    else:
        pytest.fail("a level was never recognised")


def test_a_trend_is_seldom_seen_in_noise() -> None:
    seen = sum(trend([(at, NOISE.gauss(0, 1)) for at in range(12)], span=5.0) != 0 for _ in range(1000))
    assert seen < 30  # 3 standard errors, 10 degrees of freedom: 1.3 %


def test_overfitting_is_said_with_its_numbers() -> None:
    valid = [1.0, 0.6, 0.4, 0.3, 0.31, 0.35, 0.4, 0.45, 0.5, 0.55]
    told = said({}, rows([1.0 * 0.6**at for at in range(10)], valid))
    assert "The network overfits: valid.loss was lowest, 0.3000, at step 40 and rose to about 0.5" in told
    assert "valid.loss was best at step 40 (epoch 4): 0.3000. It ended at 0.5500." in told
    assert "valid.loss was getting worse at the end." in told


@pytest.mark.parametrize(
    "valid",
    [
        [1.0, 0.6, 0.4, 0.3, 0.305, 0.3, 0.302, 0.301, 0.304, 0.303],  # level
        [1.0, 0.6, 0.4, 0.3, 0.29, 0.28, 0.27, 0.26, 0.25, 0.35],  # one bad evaluation at the end
    ],
)
def test_a_level_and_an_outlier_are_no_overfitting(valid: list[float]) -> None:
    assert "overfits" not in said({}, rows([1.0 * 0.6**at for at in range(10)], valid))


def test_where_train_gets_worse_too_it_is_no_overfitting() -> None:
    both = [1.0, 0.6, 0.4, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]
    assert "overfits" not in said({}, rows(both, both))


def test_a_rate_that_has_fallen_is_named() -> None:
    rates = [0.1 * 0.5**at for at in range(20)]
    history = [{**row, "lr": lr} for row, lr in zip(rows(FALLING, FALLING), rates, strict=True)]
    assert "The learning rate had fallen from 0.1000 to 1.91e-07 by then" in said({}, history)


def test_the_metric_is_the_one_that_weights_were_kept_by() -> None:
    history = rows(FALLING, FALLING, valid_accuracy=[0.5 + at / 100 for at in range(20)])
    assert "valid.accuracy ended" in said({}, history)
    assert "valid.loss ended" in said({"best": {"metric": "valid.loss"}}, history)
    assert "accuracy was" not in said({}, rows(FALLING, FALLING))


def test_test_accuracy_has_an_interval() -> None:
    data = {"sizes": {"test": 360}, "classes": 10, "target_shape": []}
    told = said({"metrics": {"test.accuracy": 0.98}, "data": data}, [])
    assert "On the 360 examples of test, accuracy was 0.9800" in told
    assert "0.960 to 0.990" in told
    assert said({"metrics": {"test.accuracy": 0.98}, "data": {**data, "target_shape": [8]}}, []) == ""


def test_which_weights_the_result_is_of_is_said() -> None:
    data = {"sizes": {"test": 360}, "classes": 10, "target_shape": []}
    metrics = {"test.accuracy": 0.98, "test_average.accuracy": 0.99}
    average = {"recipe": {"average": {"name": "swa"}}}
    told = said({"metrics": metrics, "data": data, "identity": average}, [])
    assert "Averaged weights (swa) predict and are exported: test.accuracy is 0.9900 with them, and 0.9800 with" in told
    assert "accuracy was 0.9900 with averaged weights; another test set" in told
    best = {"metric": "valid_average.loss", "step": 1200}
    told = said({"metrics": {"test.accuracy": 0.98}, "data": data, "best": best}, [])
    assert "The result is that of the best: averaged weights of step 1,200." in told
    assert "accuracy was 0.9800; another" in told
    assert "best: the weights of step 3." in said({"best": {"metric": "valid.loss", "step": 3}}, [])


def test_a_run_with_an_average_is_judged_by_it() -> None:
    history = [{**row, "valid_average.loss": row["valid.loss"] / 2} for row in rows(FALLING, FALLING)]
    assert "valid_average.loss ended at its best value" in said({}, history)


@given(st.integers(1, 500), st.integers(0, 500))
def test_an_interval_holds_its_share(size: int, right: int) -> None:
    share = min(right, size) / size
    low, high = interval(share, size)
    assert 0 <= low <= share + 1e-12
    assert share - 1e-12 <= high <= 1


def test_a_run_that_goes_on_is_told_in_the_present() -> None:
    told = said({}, rows(FALLING, FALLING), ended=False)
    assert "valid.loss is at its best value" in told
    assert "valid.loss is improving." in told


def test_little_to_say_is_said_shortly() -> None:
    assert findings({}, []) == []
    assert "was measured once" in said({}, rows([1.0], [1.0]))
    assert "3 evaluations are too few to tell a trend." in said({}, rows([1.0] * 3, [1.0, 0.9, 0.8]))


def test_what_was_not_finite_is_named() -> None:
    history = rows(FALLING, FALLING)
    history[3]["train.loss"] = None
    assert "Not finite at some steps, and left out of the curves there: train.loss." in said({}, history)


@given(
    st.lists(st.tuples(st.floats() | st.none(), st.floats() | st.none()), max_size=30),
    st.dictionaries(st.sampled_from(["best", "metrics", "data"]), st.none() | st.integers() | st.lists(st.text())),
)
def test_any_history_can_be_told(values: list[tuple[float | None, float | None]], known: dict[str, Any]) -> None:
    history = [{"step": at, "train.loss": one, "valid.loss": other} for at, (one, other) in enumerate(values)]
    assert not any("nan" in sentence for sentence in findings(known, history))
