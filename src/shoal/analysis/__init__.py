"""Statistics of runs: means over seeds, intervals, differences, what they mean in words; runs by experiment.

Reads run folders through `store`, trains nothing, draws nothing, and imports nothing but the standard library.
"""

from shoal.analysis.differences import Difference, difference
from shoal.analysis.experiments import Experiment, Member, of_runs, of_sweep
from shoal.analysis.intervals import Mean, is_share_of, mean_of, wilson
from shoal.analysis.verdicts import verdict

__all__ = [
    "Difference",
    "Experiment",
    "Mean",
    "Member",
    "difference",
    "is_share_of",
    "mean_of",
    "of_runs",
    "of_sweep",
    "verdict",
    "wilson",
]
