"""The parameters of every shipped schedule; the curves live in `schedules`, the controller of plateau in `training`.

Intervals and points in time count in the unit of the budget, as `evaluate.every` does; keys that count steps whatever
the budget say so in their names. Shares are of the base value where they are values, of the curve (the steps after
warm-up) where they are times.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

from shoal.recipe.fields import Flag, Float, Int, Part, Text, setting
from shoal.recipe.tables import entry

schedule = partial(entry, "schedule")


def _final(default: float = 0.0) -> Float:
    return setting(default, "share of the base value at the end", identity=default, ge=0, stackable=True)


def _drop() -> Float:
    return setting(0.1, "what the value is multiplied by at each drop", identity=0.1, gt=0, stackable=True)


class SchedulePart(Part):
    """What every schedule has."""

    warmup_steps: Int = setting(
        0,
        "steps over which the value rises linearly to where its curve begins",
        identity=0,
        ge=0,
        unit="steps",
        stackable=True,
    )
    warmup_start: Float = setting(
        0.0,
        "share that warm-up rises from; the first step is one step above it",
        identity=0.0,
        ge=0,
        le=1,
        stackable=True,
    )


@schedule
class Constant(SchedulePart):
    """The base value, after warm-up."""

    name: Literal["constant"] = "constant"


@schedule
class Step(SchedulePart):
    """The base value, multiplied by `gamma` at regular intervals, which count from the beginning of the training."""

    name: Literal["step"] = "step"
    every: Float | None = setting(
        None,
        "interval in the unit of the budget (epochs or steps); null is a third of the training",
        identity=None,
        gt=0,
        stackable=True,
    )
    gamma: Float = _drop()


@schedule
class MultiStep(SchedulePart):
    """The base value, multiplied by `gamma` at each milestone; they count from the beginning of the training."""

    name: Literal["multi_step"] = "multi_step"
    milestones: tuple[Float, ...] = setting(
        (),
        "when, in the unit of the budget (epochs or steps), in order; none is half and three quarters of the training "
        "(arXiv 1512.03385)",
        identity=(),
        stackable=True,
    )
    gamma: Float = _drop()


@schedule
class Exponential(SchedulePart):
    """The base value times a power of `gamma` that grows with every step."""

    name: Literal["exponential"] = "exponential"
    gamma: Float | None = setting(
        None,
        "factor for one unit of the budget (an epoch or a step); null ends at a hundredth",
        identity=None,
        gt=0,
        stackable=True,
    )


@schedule
class Polynomial(SchedulePart):
    """A power of the share of the training that is left (DeepLab's "poly", arXiv 1606.00915)."""

    name: Literal["polynomial"] = "polynomial"
    power: Float = setting(0.9, "exponent; 1 is linear", identity=0.9, gt=0, stackable=True)
    final: Float = _final()


@schedule
class Linear(SchedulePart):
    """A straight line from the base value to `final` of it at the budget's end."""

    name: Literal["linear"] = "linear"
    final: Float = _final()


@schedule
class Cosine(SchedulePart):
    """Half a cosine from the base value, after warm-up, to `final` of it at the budget's end (arXiv 1608.03983)."""

    name: Literal["cosine"] = "cosine"
    final: Float = _final()


@schedule
class CosineRestarts(SchedulePart):
    """Half a cosine that starts anew, each time for longer: SGDR (arXiv 1608.03983)."""

    name: Literal["cosine_restarts"] = "cosine_restarts"
    period: Float | None = setting(
        None,
        "length of the first period in the unit of the budget (epochs or steps); null lets three fill the training",
        identity=None,
        gt=0,
        stackable=True,
    )
    multiplier: Int = setting(
        2, "how many times as long each period is as the one before", identity=2, ge=1, le=1000, stackable=True
    )
    final: Float = setting(0.0, "share of the base value at the end of each period", identity=0.0, ge=0, stackable=True)


@schedule
class Cyclic(SchedulePart):
    """Triangles between two shares of the base value (arXiv 1506.01186)."""

    name: Literal["cyclic"] = "cyclic"
    mode: Literal["triangular", "triangular2", "exp_range"] = setting(
        "triangular",
        "whether the height of the triangles stays, is halved with each period, or falls by gamma",
        identity="triangular",
    )
    period: Float | None = setting(
        None,
        "length of a whole period, twice Smith's step size, in the unit of the budget (epochs or steps); null lets "
        "four fill the training",
        identity=None,
        gt=0,
        stackable=True,
    )
    initial: Float = setting(
        0.25,
        "share of the base value where each period begins and ends; 1, with a lower peak, for a momentum",
        identity=0.25,
        ge=0,
        stackable=True,
    )
    peak: Float = setting(1.0, "share of the base value at the peak", identity=1.0, ge=0, stackable=True)
    peak_at: Float = setting(0.5, "share of the period at which the peak is", identity=0.5, gt=0, lt=1, stackable=True)
    gamma: Float | None = setting(
        None,
        "of exp_range: factor of the height for one unit of the budget (an epoch or a step); null ends at a hundredth",
        identity=None,
        gt=0,
        le=1,
        stackable=True,
    )


@schedule
class OneCycle(SchedulePart):
    """Up to a peak and down to almost nothing: 1cycle (arXiv 1708.07120), as torch's OneCycleLR has it."""

    name: Literal["one_cycle"] = "one_cycle"
    peak_at: Float = setting(
        0.3, "share of the training at which the peak is", identity=0.3, ge=0, le=1, stackable=True
    )
    initial: Float = setting(
        0.04,
        "share of the base value at the beginning; 1, with a lower peak and a final of 1, for a momentum",
        identity=0.04,
        ge=0,
        stackable=True,
    )
    peak: Float = setting(1.0, "share of the base value at the peak", identity=1.0, ge=0, stackable=True)
    final: Float = _final(4e-6)
    shape: Literal["cosine", "linear"] = setting("cosine", "how the value goes up and down", identity="cosine")
    three_phase: Flag = setting(
        False, "pass the initial share again on the way down, as long after the peak as it was before", identity=False
    )


@schedule
class Wsd(SchedulePart):
    """Warm-up, stable, decay (arXiv 2404.06395): the base value until the last part of the training."""

    name: Literal["wsd"] = "wsd"
    decay: Float = setting(0.2, "share of the training over which it decays", identity=0.2, gt=0, le=1, stackable=True)
    shape: Literal["linear", "cosine", "sqrt"] = setting(
        "sqrt", "how it decays; sqrt is 1 minus the root of the time (arXiv 2405.18392)", identity="sqrt"
    )
    final: Float = _final()


@schedule
class InverseSqrt(SchedulePart):
    """One over the root of the step, after warm-up: the Transformer's (arXiv 1706.03762)."""

    name: Literal["inverse_sqrt"] = "inverse_sqrt"
    timescale_steps: Int | None = setting(
        None,
        "steps after which the value is 1/sqrt(2) of its base; null is warmup_steps, and 1 without a warm-up",
        identity=None,
        ge=1,
        unit="steps",
        stackable=True,
    )


@schedule
class Demon(SchedulePart):
    """Decaying momentum (arXiv 1910.04952): what a gradient adds to all later updates falls linearly to nothing."""

    name: Literal["demon"] = "demon"


@schedule
class Plateau(SchedulePart):
    """The base value, multiplied by `factor` whenever a metric has stopped improving (torch's ReduceLROnPlateau)."""

    name: Literal["plateau"] = "plateau"
    metric: Text = setting("valid.loss", "metric that has to improve", identity="valid.loss")
    factor: Float = setting(0.1, "what the value is multiplied by", identity=0.1, gt=0, lt=1, stackable=True)
    patience: Int = setting(
        10,
        "evaluations without improvement that are borne; the next one lowers the value",
        identity=10,
        ge=0,
        unit="evaluations",
        stackable=True,
    )
    cooldown: Int = setting(
        0, "evaluations after a reduction that do not count", identity=0, ge=0, unit="evaluations", stackable=True
    )
    threshold: Float = setting(1e-4, "least change that is an improvement", identity=1e-4, ge=0, stackable=True)
    threshold_mode: Literal["rel", "abs"] = setting(
        "rel", "whether the threshold is a share of the best so far, or a difference from it", identity="rel"
    )
    min: Float = setting(0.0, "least share of the base value", identity=0.0, ge=0, le=1, stackable=True)
