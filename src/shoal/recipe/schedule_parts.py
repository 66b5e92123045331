"""The parameters of every shipped schedule; their curves live in `schedules`."""

from __future__ import annotations

from functools import partial
from typing import Literal

from shoal.recipe.fields import Float, Int, Part, setting
from shoal.recipe.tables import entry

schedule = partial(entry, "schedule")


class SchedulePart(Part):
    """What every schedule has."""

    warmup_steps: Int = setting(
        0, "steps over which the value rises linearly to its base", identity=0, ge=0, unit="steps", stackable=True
    )


@schedule
class Constant(SchedulePart):
    """The base value, after warm-up."""

    name: Literal["constant"] = "constant"


@schedule
class Cosine(SchedulePart):
    """Half a cosine from the base value, after warm-up, to `final` of it at the budget's end (arXiv 1608.03983)."""

    name: Literal["cosine"] = "cosine"
    final: Float = setting(0.0, "share of the base value at the end", identity=0.0, ge=0, stackable=True)
