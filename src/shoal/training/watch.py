"""What watches the evaluations of one run: the best weights, and when to stop early. A stack has a set for each run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.training.seams import AVERAGED, Engine, Row


def better(value: float, than: float | None, *, higher: bool) -> bool:
    """Return whether a metric improved; a value that is not finite never does."""
    if not math.isfinite(value):
        return False
    return than is None or (value > than if higher else value < than)


def of_average(metric: str) -> bool:
    """Return whether a metric is one of averaged weights.

    >>> of_average("valid_average.accuracy"), of_average("valid.accuracy")
    (True, False)
    """
    return metric.partition(".")[0].endswith(AVERAGED)


class BestWeights:
    """Keeps the weights of the best evaluation so far, by one metric; the first of equals."""

    name = "best"

    def __init__(self, metric: str, *, higher: bool, run: int = 0) -> None:
        self.metric, self.higher, self.run = metric, higher, run
        self.value: float | None = None
        self.step: int | None = None
        self.metrics: dict[str, float] = {}

    def evaluated(self, engine: Engine, rows: Sequence[Row]) -> None:
        """Keep the weights if the metric improved."""
        row = rows[self.run]
        value = row.metrics.get(self.metric)
        if value is not None and better(value, self.value, higher=self.higher):
            self.value, self.step, self.metrics = value, row.step, dict(row.metrics)
            engine.keep(self.run, weights="average" if of_average(self.metric) else "raw")

    def stop(self) -> str | None:
        """Never ask to stop."""
        return None

    def state_dict(self) -> dict[str, Any]:
        """Return the best so far."""
        return {"value": self.value, "step": self.step, "metrics": self.metrics}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.value, self.step, self.metrics = state["value"], state["step"], dict(state["metrics"])


class EarlyStop:
    """Asks to stop after `patience` evaluations in a row without improvement."""

    name = "early_stop"

    def __init__(self, metric: str, *, higher: bool, patience: int, run: int = 0) -> None:
        self.metric, self.higher, self.patience, self.run = metric, higher, patience, run
        self.value: float | None = None
        self.waited = 0

    def evaluated(self, engine: Engine, rows: Sequence[Row]) -> None:
        """Count evaluations since the last improvement."""
        del engine
        value = rows[self.run].metrics.get(self.metric)
        if value is None:  # there are no averaged weights yet
            return
        if better(value, self.value, higher=self.higher):
            self.value, self.waited = value, 0
        else:
            self.waited += 1

    def stop(self) -> str | None:
        """Return the reason once patience is spent."""
        if self.waited < self.patience:
            return None
        evaluations = f"{self.waited} evaluation{'s' * (self.waited != 1)}"
        if self.value is None:
            return f"early stop: {self.metric} was not finite in {evaluations}"
        return f"early stop: {self.metric} did not improve on {self.value:.6g} for {evaluations}"

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and how long it has stood."""
        return {"value": self.value, "waited": self.waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.value, self.waited = state["value"], state["waited"]
