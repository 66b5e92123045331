"""Where a program stands: the loops that it is in, and the passes that each of them has made.

A loop is known by its number among those at its level, as the program comes by them. So the place of a checkpoint is
found again by running the program: loops that were over make no pass, the others begin with the pass that is next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from shoal.errors import InputError

CHANGED = (
    "Was the program changed since, or does its way depend on what is not registered? Register that; or begin anew "
    "with again=True, which sets the run aside."
)


@dataclass
class Frame:
    """A loop that the program is in."""

    number: int
    """Which one it is at its level, from 0."""
    leaf: bool
    """Whether its passes are steps; other loops stand in none of these."""
    size: int = 0
    """Batches in an epoch, where it has such."""
    total: int | None = None
    """Passes that it is to make, as far as that is known."""
    done: int = 0
    """Passes that are made."""
    loops: int = 0
    """Loops that were begun in the present pass."""
    holds: bool = False
    """Whether a loop was ever begun in a pass."""

    def plain(self) -> list[Any]:
        """Return what is saved."""
        return [self.number, self.done, self.size, self.holds]


class Course:
    """The way of one program; `saved` is where a checkpoint was made, which is still to be reached."""

    def __init__(self, saved: Mapping[str, Any] | None = None) -> None:
        self.frames: list[Frame] = []
        self.root = Frame(0, leaf=False)
        self.wanted: Sequence[list[Any]] = saved["path"] if saved else ()
        self.steps: int = saved["steps"] if saved else 0
        self.over: bool = bool(saved and saved["over"])
        """Whether the program has been through all of it, so that no loop makes a pass."""
        self.reached = not (self.wanted or self.over)

    def plain(self) -> dict[str, Any]:
        """Return the place, to be saved: every loop with its passes, from the outermost."""
        return {"path": [frame.plain() for frame in self.frames], "steps": self.steps, "over": self.over}

    @property
    def address(self) -> tuple[int, ...]:
        """The place as numbers: of each loop which one it is, and which pass."""
        return tuple(number for frame in self.frames for number in (frame.number, frame.done))

    @property
    def behind(self) -> tuple[int, ...]:
        """The place behind the loop that was left last, as numbers."""
        return (*self.address, self._above.loops - 1)

    @property
    def total(self) -> int | None:
        """Steps that are made when the outermost loop is over, as far as that is known from within the innermost."""
        totals = [frame.total for frame in self.frames]
        if any(total is None for total in totals):
            return None
        made = 0
        for frame in self.frames:
            made = made * (frame.total or 0) + frame.done
        return self.steps - made + math.prod(cast(list[int], totals))

    @property
    def _above(self) -> Frame:
        return self.frames[-1] if self.frames else self.root

    def begin(self, *, leaf: bool, size: int = 0, total: int | None = None) -> Frame | None:
        """Enter a loop; None where it was over at the place that is still to be reached.

        Raises InputError for a loop within a step, and for a loop that is not the one that was saved.
        """
        above = self._above
        if above.leaf:
            raise InputError(
                "a loop of the run stands within a step: run.batches and run.steps hold no other loops, only "
                "run.epochs does. For several data at once pass all arrays to one run.batches, or draw rows in "
                "run.steps: torch.randint is a function of seed and step there."
            )
        frame = Frame(above.loops, leaf, size, total)
        above.loops += 1
        above.holds = True
        if self.over:
            return None
        if not self.reached:
            number, done, before, holds = self.wanted[len(self.frames)]
            if frame.number < number:
                return None
            if frame.number > number or before != size:
                raise InputError(
                    f"loop {frame.number + 1} has {size:,} batches an epoch; the run was saved in loop {number + 1} "
                    f"with {before:,}. {CHANGED}"
                )
            frame.done, frame.holds = done, holds
        self.frames.append(frame)
        return frame

    def arrives(self) -> bool:
        """Return whether the innermost loop is the one in which the run was saved; the place is reached then."""
        if self.reached or len(self.frames) < len(self.wanted):
            self._on_the_way()
            return False
        self.reached = True
        return True

    def passed(self, frame: Frame) -> None:
        """Count a pass; one of steps, or one that held no other loop, is a step."""
        if frame.leaf or not frame.holds:
            self.steps += 1
        frame.done += 1
        frame.loops = 0

    def leave(self, frame: Frame) -> None:
        """Leave a loop, and what is within it."""
        if frame in self.frames:
            del self.frames[self.frames.index(frame) :]

    def end(self) -> None:
        """Say that the program is over; raises InputError where it did not come by the place that was saved."""
        self._check()
        self.over = True

    def _check(self) -> None:
        if not (self.reached or self.over):
            raise InputError(f"the program did not come by the loop in which the run was saved. {CHANGED}")

    def _on_the_way(self) -> None:
        """Raise InputError where a loop goes on beyond the pass in which the run was saved."""
        if not self.reached and self.frames[-1].done > self.wanted[len(self.frames) - 1][1]:
            self._check()
