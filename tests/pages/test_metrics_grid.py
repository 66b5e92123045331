from __future__ import annotations

from shoal.pages.blocks import plain
from shoal.pages.metrics_grid import metrics_grid

METRICS = {
    "train.loss": 0.5,
    "train.grad_norm": 2.0,
    "train.clipped": 0.25,
    "valid.loss": 0.4,
    "valid.accuracy": 0.9,
    "valid_average.loss": 0.3,
    "valid_average.accuracy": 0.95,
    "test.loss": 0.45,
    "test_average.loss": 0.35,
}


def test_averaged_weights_have_a_column_beside_the_others_and_clipping_comes_last() -> None:
    assert plain([metrics_grid(METRICS)]) == [
        "metric      train   valid  valid averaged    test  test averaged",
        "loss       0.5000  0.4000          0.3000  0.4500         0.3500",
        "accuracy        -  0.9000          0.9500       -              -",
        "grad_norm   2.000       -               -       -              -",
        "clipped    0.2500       -               -       -              -",
    ]


def test_a_run_without_an_average_has_the_columns_that_it_had() -> None:
    (head, *_) = plain([metrics_grid({"train.loss": 1.0, "test.loss": 1.0})])
    assert head.split() == ["metric", "train", "test"]
