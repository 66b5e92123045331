"""A trained run's weights: those that were kept, and those that count, which predict, are exported and started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from shoal.assembly.program import refuse_program
from shoal.checkpoints import newest
from shoal.errors import InputError, StoreError, nearest
from shoal.store import RunFolder
from shoal.training.extra_state import load_extra_state
from shoal.training.seams import Weights
from shoal.training.weights import load_weights

COUNTING: tuple[Weights, ...] = ("best", "average", "raw")
"""All kinds of weights; those count that come first."""
KEPT_BY = {
    "best": "Best weights are kept where best.metric says by which metric, from the start of the training.",
    "average": "Averaged ones are kept where the recipe has an average, such as average=ema, once it has begun.",
}


@dataclass(frozen=True)
class Kept:
    """What a run's newest checkpoint has: `raw` weights, as they were trained last; `average` and `best` where kept."""

    label: str
    trees: Mapping[Weights, Mapping[str, Tensor]]
    extra: Mapping[Weights, Mapping[str, Any] | None] = field(default_factory=dict[Weights, Any])
    """What modules kept beside them; None where none did, or where that was not saved yet."""

    @property
    def counting(self) -> Weights:
        """The weights that count: the best where the run kept them, else averaged ones where it has, else the last."""
        return next(kind for kind in COUNTING if kind in self.trees)

    def chosen(self, wanted: str | None) -> tuple[Weights, Mapping[str, Tensor]]:
        """Return which weights are meant, and them; None means those that count.

        Raises InputError for weights that the run does not have, with what it has.
        """
        asked = wanted or self.counting
        had = f"{self.label} has {' and '.join(self.trees)}"
        for kind in COUNTING:
            if kind == asked and kind in self.trees:
                return kind, self.trees[kind]
            if kind == asked:
                raise InputError(f"weights = {asked}: {had} weights. {KEPT_BY[kind]}")
        close = nearest(str(wanted), COUNTING)
        hint = f"did you mean {close!r}? " if close else ""
        raise InputError(f"weights = {wanted!r}: {hint}expected raw, average or best; {had} weights.")

    def put_into(self, model: nn.Module, wanted: str | None) -> None:
        """Give a model the weights that are meant, and its modules what they kept beside them."""
        kind, tree = self.chosen(wanted)
        load_weights(model, tree)
        load_extra_state(model, self.extra.get(kind))


def kept(folder: RunFolder) -> Kept:
    """Return the weights in the newest checkpoint that is valid; raises StoreError where there is none yet."""
    refuse_program(folder)
    loaded = newest(folder.checkpoints)
    if loaded is None:
        raise StoreError(f"{folder.label} has no checkpoint yet: train it first.")
    with loaded.understood():
        engine: dict[str, Any] = loaded.states["engine"]
        averaged: dict[str, Any] = engine.get("average") or {}
        trees: dict[Weights, Any] = {
            "raw": {**engine["parameters"], **engine["buffers"]},
            "average": averaged.get("measured"),
            "best": engine["best"],
        }
        last = engine.get("extra")
        extra: dict[Weights, Any] = {"raw": last, "average": last, "best": engine.get("best_extra")}
    return Kept(folder.label, {kind: tree for kind, tree in trees.items() if tree}, extra)


def weights_of(folder: RunFolder, wanted: str | None = None) -> Mapping[str, Tensor]:
    """Return a run's weights: those that count, or raw, average or best; raises InputError where it has none such."""
    return kept(folder).chosen(wanted)[1]
