"""Training: the loop, the engine that performs steps, and what watches them.

`fit` is the loop, the same for one run and for many; `seams` says what it needs of an engine and a recorder.
"""

from shoal.training.agenda import Agenda
from shoal.training.hypers import ScheduledHypers
from shoal.training.loop import Ending, fit
from shoal.training.plan import Plan
from shoal.training.pulse import Pulse
from shoal.training.seams import Callback, Engine, Evaluation, Hypers, Recorder, Row
from shoal.training.solo import SoloEngine
from shoal.training.watch import BestWeights, EarlyStop

__all__ = [
    "Agenda",
    "BestWeights",
    "Callback",
    "EarlyStop",
    "Ending",
    "Engine",
    "Evaluation",
    "Hypers",
    "Plan",
    "Pulse",
    "Recorder",
    "Row",
    "ScheduledHypers",
    "SoloEngine",
    "fit",
]
