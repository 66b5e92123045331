"""What is optimised and what is measured: a loss for each example, and metrics that add up over batches.

Not for how often they are measured (that is the recipe) nor for where they are written (that is the store).
"""

from shoal.tasks.custom import check_loss, with_loss
from shoal.tasks.metric import Metric
from shoal.tasks.smoothing import training_loss
from shoal.tasks.table import BUILDERS, SUPPLIED, build, register, usual
from shoal.tasks.targets import Targets
from shoal.tasks.task import Task

__all__ = [
    "BUILDERS",
    "SUPPLIED",
    "Metric",
    "Targets",
    "Task",
    "build",
    "check_loss",
    "register",
    "training_loss",
    "usual",
    "with_loss",
]
