"""Pure functions of the step: what multiplies a base value, what an average takes in, how examples are mixed.

Nothing here has state, so nothing has to be saved for a run to resume: the factor of step 1,203 is a function of 1,203.
"""

from shoal.schedules.averages import AVERAGES, average_weights, swa_lr
from shoal.schedules.curves import CURVES, factors
from shoal.schedules.mixing import mixing_values

__all__ = ["AVERAGES", "CURVES", "average_weights", "factors", "mixing_values", "swa_lr"]
