"""The functional step: one update as tensor operations over a state that is given, written once.

What is computed is what the eager step computes, with the optimizer as a pure rule. Nothing here asks a tensor for its
value, so the step can be recorded as plain operations. The state is written to in place, at the end: an update whose
loss was not finite leaves weights and slots as they were.

The state is `{group: {name: tensor}}`:

    parameters  by name; where they are joined, by unit instead: one flat tensor a unit
    buffers     by name
    frozen      parameters that are not trained, by name
    slots.NAME  each of the rule's slots, by unit
    average     the weights' exponential average, by unit, and that of the buffers, where there is one
    meter, guard, clip, scale, clock     sums, flags, recent norms, loss scale, the number of updates
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, cast

import torch
from torch import Tensor, nn

from shoal.optim import Fused, NamedGroup, Rule, ascent, averaged, climbed, functional_call
from shoal.training.guard import Guard, unless
from shoal.training.loss_scale import LossScale
from shoal.training.meter import Measured, Meter
from shoal.training.objective import Objective, Part
from shoal.training.phases import phase
from shoal.training.treatment import Treatment

Tree = dict[str, Tensor]
State = dict[str, Tree]

JOINED_NUMBERS = 1 << 16
"""Parameters are joined into flat tensors up to so many numbers: a few operations on one replace a few on each.
Larger ones are not, for joining copies every gradient."""


@dataclass(frozen=True)
class Unit:
    """Parameters that are updated together: one alone, or the whole of a group joined end to end."""

    label: str
    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    joined: bool
    group: NamedGroup

    def split(self, tensor: Tensor) -> Tree:
        """Return the unit's tensor as its parameters, by name: views of it; a single number is one for all."""
        if not self.joined:
            return {self.names[0]: tensor}
        if tensor.ndim == 0:
            return dict.fromkeys(self.names, tensor)
        pieces = cast("Sequence[Tensor]", tensor.split([shape.numel() for shape in self.shapes]))
        return {name: piece.view(shape) for name, piece, shape in zip(self.names, pieces, self.shapes, strict=True)}

    def join(self, tree: Mapping[str, Tensor]) -> Tensor:
        """Return the tensors of the unit's parameters as one."""
        if not self.joined:
            return tree[self.names[0]]
        return torch.cat([tree[name].reshape(-1) for name in self.names])


def units_of(
    model: nn.Module, groups: Sequence[NamedGroup], rules: Mapping[bool, Rule], *, joining: bool = True
) -> list[Unit]:
    """Return the units in which a rule updates a model's parameters; without `joining`, each is one alone."""
    parameters = dict(model.named_parameters())
    chosen = [parameters[name] for group in groups for name in group.names]
    dtypes = {(p.dtype, p.device) for p in chosen}
    plain = all(p.is_contiguous() for p in chosen) and len(dtypes) == 1
    joinable = joining and plain and sum(p.numel() for p in chosen) <= JOINED_NUMBERS
    units: list[Unit] = []
    for number, group in enumerate(groups):
        shapes = tuple(parameters[name].shape for name in group.names)
        if joinable and rules[group.rest].elementwise:
            units.append(Unit(f"joined.{number}", group.names, shapes, True, group))
        else:
            units += [
                Unit(name, (name,), (shape,), False, group) for name, shape in zip(group.names, shapes, strict=True)
            ]
    return units


@dataclass(frozen=True)
class Program:
    """One training step over a state. `names` are the hypers in the order of their columns, `fixed` the others."""

    model: nn.Module
    objective: Objective
    rules: Mapping[bool, Rule]
    units: Sequence[Unit]
    names: tuple[str, ...]
    renamed: Mapping[str, str]
    fixed: Mapping[str, float]
    treatment: Treatment
    meter: Meter
    guard: Guard
    averaged: bool = False
    fused: bool = True

    def __call__(self, state: State, inputs: Tensor, targets: Tensor, index: Tensor, hyper: Sequence[Tensor]) -> None:
        """Perform one update of `state`, in place. hyper: one 0-dim tensor a name."""
        values = dict(zip(self.names, hyper, strict=True))
        meter, guard = self.meter.over(state["meter"]), self.guard.over(state["guard"])
        scale = LossScale.over(state["scale"]) if self.treatment.scaled else None
        with phase("inputs"):
            parts = self.objective.parts(inputs, targets, index, values, count=self.treatment.parts)
        with phase("weights"):
            pieces = [unit.split(state["parameters"][unit.label]) for unit in self.units]
        weights = {name: piece for own in pieces for name, piece in own.items()}
        before = {name: value.clone() for name, value in state["buffers"].items()} if guard.policy.skips else {}

        guard.begin()
        gradient = partial(self._gradient, state=state, parts=parts, values=values, guard=guard, scale=scale)
        grads, measured, overflow = gradient(weights, buffers=state["buffers"])
        if self.treatment.sam:
            with phase("climb"):
                ascended = climbed(list(weights.values()), ascent(list(grads.values()), self.treatment.sam))
            moved = dict(zip(weights, ascended, strict=True))
            spare = {name: value.clone() for name, value in state["buffers"].items()}
            grads, _, again = gradient(moved, buffers=spare, first=False)
            overflow = again if overflow is None or again is None else torch.maximum(overflow, again)
        with torch.no_grad(), phase("measures"):
            guard.conclude(measured)
            for part in measured:
                meter.add(part, skipped=guard.found if guard.policy.skips else None)
            if before:
                unless(guard.found, before, state["buffers"])
            found = guard.found if overflow is None else torch.maximum(overflow, guard.found)
        with torch.no_grad(), phase("update"):
            if self.treatment.clip is not None:
                clipped, norm, was = self.treatment.clip.apply(list(grads.values()), state["clip"])
                grads = dict(zip(grads, clipped, strict=True))
                meter.note({"grad_norm": norm, "clipped": was}, len(inputs), skipped=found)
            self._update(state, grads, values, found)
            if scale is not None:
                scale.update(found)
            if self.averaged:
                self._average(state, values["average"])

    def _gradient(
        self,
        weights: Tree,
        *,
        state: State,
        buffers: Tree,
        parts: Sequence[Part],
        values: Mapping[str, Tensor],
        guard: Guard,
        scale: LossScale | None,
        first: bool = True,
    ) -> tuple[Tree, list[Measured], Tensor | None]:
        """Return the gradient of the mean loss, what the first pass measures, and 1.0 where fp16 overflowed."""
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}

        def forward(inputs: Any) -> Any:
            with phase("forward"):
                return functional_call(self.model, {**state["frozen"], **leaves, **buffers}, (inputs,))

        total: list[Tensor] | None = None
        measured: list[Measured] = []
        for part in parts:
            with torch.enable_grad():
                with phase("loss"):
                    outputs, losses = self.objective.outputs_and_losses(forward, part, values, check=False)
                each = 1.0 / (len(parts) * max(losses.numel(), 1))
                share = torch.full(losses.shape, each, dtype=losses.dtype, device=losses.device)
                start = share if scale is None else share * scale.scale.to(losses.dtype)
                with phase("backward"):
                    grads = torch.autograd.grad(losses, list(leaves.values()), start)
            with phase("backward"):
                total = list(grads) if total is None else [a + b for a, b in zip(total, grads, strict=True)]
            with torch.no_grad(), phase("measures"):
                if first:
                    size = len(part.inputs)
                    measured.append(self.meter.measure(losses.detach(), outputs.detach(), part.targets, size))
        assert total is not None
        with torch.no_grad(), phase("measures"):
            guard.look([part.loss for part in measured], total if scale is None else (), pure=not self.fused)
            overflow = None if scale is None else scale.unscale(total)
        return dict(zip(leaves, total, strict=True)), measured, overflow

    def _update(self, state: State, grads: Tree, values: Mapping[str, Tensor], found: Tensor) -> None:
        """Write new weights and slots, unless `found` says that the update must not be made."""
        clock = state["clock"]["updates"]
        new_clock = clock + (1.0 - found.to(clock.dtype))
        for _, members in groupby(self.units, key=lambda unit: unit.group):
            units = list(members)
            group = units[0].group
            rule = self.rules[group.rest]
            joined = {unit.label: unit.join(grads) for unit in units}
            own = {unit.label: state["parameters"][unit.label] for unit in units}
            slots = {slot: _of(state[f"slots.{slot}"], own) for slot in rule.slots}
            hyper = self._hypers(values, group)
            if self.fused and isinstance(rule, Fused) and rule.fusable(hyper):
                steps = [clock.clone() for _ in units]  # the kernel counts
                rule.fused(
                    list(own.values()),
                    list(joined.values()),
                    {slot: list(tree.values()) for slot, tree in slots.items()},
                    hyper,
                    steps,
                    found,
                )
                continue
            new, new_slots = rule.update(own, joined, slots, hyper, clock + 1.0)
            skip = found > 0
            for label, value in own.items():
                value.copy_(torch.where(skip, value, new[label]))
            for slot, tree in slots.items():
                for label, value in tree.items():
                    value.copy_(torch.where(skip, value, new_slots[slot][label]))
        clock.copy_(new_clock)

    def _hypers(self, values: Mapping[str, Tensor], group: NamedGroup) -> dict[str, Tensor | float]:
        """The optimizer's hyperparameters for a group: scheduled ones as tensors, the others as numbers."""
        own: dict[str, Tensor | float] = dict(self.fixed)
        own |= {key: values[name] for name, key in self.renamed.items() if name in values}
        if group.lr_multiplier != 1.0:
            own["lr"] = own["lr"] * group.lr_multiplier
        if "weight_decay" in own:
            if group.decay == 0.0:
                own["weight_decay"] = 0.0
            elif group.decay != 1.0:
                own["weight_decay"] = own["weight_decay"] * group.decay
        return own

    def _average(self, state: State, share: Tensor) -> None:
        """Move the average towards the weights by `share` of the way."""
        present = {**state["parameters"], **state["frozen"], **state["buffers"]}
        weights = {label: present[label] for label in state["average"]}
        for label, value in averaged(state["average"], weights, share).items():
            state["average"][label].copy_(value)


def _of(tree: Tree, units: Mapping[str, Tensor]) -> Tree:
    """The slots of some units; not every rule keeps each slot for each parameter."""
    return {label: tree[label] for label in units if label in tree}
