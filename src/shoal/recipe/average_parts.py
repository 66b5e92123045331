"""The parameters of every shipped average of weights; what they do at each step is in `schedules.averages`."""

from __future__ import annotations

from functools import partial
from typing import Literal

from shoal.recipe.fields import Flag, Float, Int, Part, setting
from shoal.recipe.tables import entry

average = partial(entry, "average")


@average
class NoAverage(Part):
    """The weights alone."""

    name: Literal["none"] = "none"


@average
class Ema(Part):
    """An exponential moving average of the weights (Polyak and Juditsky 1992), updated at every step."""

    name: Literal["ema"] = "ema"
    decay: Float = setting(0.999, "share of the average that a step keeps", identity=0.999, ge=0, lt=1, stackable=True)
    warmup: Flag = setting(
        True,
        "let the decay rise as (1 + step) / (10 + step) up to its value: the first weights are soon forgotten",
        identity=True,
    )


@average
class Swa(Part):
    """Stochastic weight averaging (arXiv 1803.05407): the running mean of weights from a start point on."""

    name: Literal["swa"] = "swa"
    start: Float = setting(0.75, "share of the training after which averaging starts", identity=0.75, ge=0, lt=1)
    every: Float | None = setting(
        None, "interval in the unit of the budget (epochs or steps); null is once an epoch", identity=None, gt=0
    )
    lr: Float | None = setting(
        None,
        "learning rate from the start point on, held constant; null leaves the schedule as it is",
        identity=None,
        gt=0,
        stackable=True,
    )
    anneal_steps: Int = setting(
        0, "steps over which the learning rate goes to lr along half a cosine", identity=0, ge=0, unit="steps"
    )


@average
class Lookahead(Part):
    """Lookahead (arXiv 1907.08610): every few steps slow weights go part of the way to the fast ones, which follow."""

    name: Literal["lookahead"] = "lookahead"
    every: Int = setting(5, "steps of the fast weights between two of the slow ones", identity=5, ge=1, unit="steps")
    alpha: Float = setting(0.5, "share of the way that the slow weights go", identity=0.5, gt=0, le=1, stackable=True)
