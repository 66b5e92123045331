"""Pure functions from steps to factors: what multiplies an optimizer's base value at each step.

Nothing here has state, so nothing has to be saved for a run to resume: the factor of step 1,203 is a function of 1,203.
"""

from shoal.schedules.curves import CURVES, constant, cosine, factors

__all__ = ["CURVES", "constant", "cosine", "factors"]
