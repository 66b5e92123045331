"""All hypers of a run's steps: an optimizer's schedules, the average's share, keys of augmentation, draws of mixing.

Only the first, those of the optimizer, are recorded in the history; the others are functions of the seed and the step.
"""

from __future__ import annotations

import numpy as np

from shoal import rng
from shoal.recipe.fields import Part
from shoal.schedules.averages import average_weights
from shoal.schedules.mixing import mixing_values
from shoal.training.hypers import ScheduledHypers
from shoal.training.objective import AUGMENT, MIXING, SHARE, Objective


class Columns:
    """The values of every hyper of a run, by blocks of steps; each depends on its step alone.

    Raises RecipeError for an average that never takes anything in.
    """

    def __init__(
        self,
        scheduled: ScheduledHypers,
        *,
        objective: Objective,
        average: Part,
        picture: tuple[int, int],
        seed: int,
        per_epoch: int,
        by_epochs: bool,
    ) -> None:
        self.scheduled, self.objective, self.average = scheduled, objective, average
        self.picture, self.seed, self.per_epoch, self.by_epochs = picture, seed, per_epoch, by_epochs
        self.total = scheduled.total
        self.recorded = scheduled.names
        extra: list[str] = [
            *([SHARE] if average.name != "none" else []),
            *([AUGMENT] if objective.augment is not None else []),
            *(MIXING if objective.mixing is not None else []),
        ]
        self.names = (*scheduled.names, *extra)
        self._shares(np.arange(0, dtype=np.int64))

    @property
    def version(self) -> int:
        """A number that changes when a controller has changed what is to come."""
        return self.scheduled.version

    def block(self, first: int, last: int) -> np.ndarray:
        """Return the values of steps first..last-1: [steps, 1, H]."""
        columns = [self.scheduled.block(first, last)[:, 0, :]]
        steps = np.arange(first, last, dtype=np.int64)
        if SHARE in self.names:
            columns.append(self._shares(steps)[:, None])
        if self.objective.augment is not None:
            epochs = steps // self.per_epoch
            keys = {epoch: float(rng.key53(self.seed, "augment", int(epoch))) for epoch in np.unique(epochs)}
            columns.append(np.array([[keys[epoch]] for epoch in epochs]))
        if self.objective.mixing is not None:
            height, width = self.picture
            mixing = self.objective.mixing
            columns.append(
                mixing_values(
                    self.seed, first, last, mixup=mixing.mixup, cutmix=mixing.cutmix, height=height, width=width
                )
            )
        return np.concatenate(columns, axis=1)[:, None, :]

    def _shares(self, steps: np.ndarray) -> np.ndarray:
        """The share of the way that the average goes after each of some steps."""
        return average_weights(
            self.average, steps, total=self.total, per_epoch=self.per_epoch, by_epochs=self.by_epochs
        )
