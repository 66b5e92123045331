"""Randomness with an address: every draw is a function of (seed, purpose, epoch, index).

Nothing here is advanced by use, so nothing has to be saved for a run to resume: the order of epoch 7, the initial
weights, the mask of step 1,203 are computed again from their address. Only Python's and NumPy's own generators, from
which a user's model may draw, are saved as they stand (`captured`). What is drawn for each example within a step needs
no generator at all (`uniform`).
"""

from shoal.rng.addressed import key53, uniform
from shoal.rng.streams import StepSeeds, captured, generator, key, preserved, restore, seed_all, snapshot

__all__ = [
    "StepSeeds",
    "captured",
    "generator",
    "key",
    "key53",
    "preserved",
    "restore",
    "seed_all",
    "snapshot",
    "uniform",
]
