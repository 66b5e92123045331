"""What a recorded step writes to, and the same by parameter name: one memory for the recording and for who saves it.

In memory the weights and slots of joined parameters are one flat tensor a unit; saved they are what the optimizer's
class has, so that a run moves between executions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoal.errors import CheckpointError
from shoal.optim import Rule
from shoal.training.eager import EagerStep
from shoal.training.program import State, Tree, Unit
from shoal.training.weights import persistent_buffers


class StepState:
    """The tensors of a recorded step, `trees` by group as the program has them.

    Those of buffers, frozen parameters, meter, guard and clipping are the eager step's own; so are parameters, but for
    those that are joined.
    """

    def __init__(self, eager: EagerStep, units: Sequence[Unit], rules: Mapping[bool, Rule], *, averaged: bool) -> None:
        self.units, self.rules = units, rules
        self.slots = tuple(dict.fromkeys(slot for rule in rules.values() for slot in rule.slots))
        self.kept = tuple(name for name, _ in persistent_buffers(eager.model))
        self.trees = self._trees(eager, averaged=averaged)

    def adopt(self, *models: nn.Module) -> None:
        """Let the parameters and buffers of models be views of this memory."""
        weights = {**self._named(self.trees["parameters"]), **self.trees["frozen"]}
        for model in models:
            for name, parameter in model.named_parameters():
                parameter.data = weights[name]
            for name, buffer in model.named_buffers():
                buffer.data = self.trees["buffers"][name]

    def weights(self, trees: State) -> Tree:
        """Return parameters and persistent buffers by name, as this state or a copy of it has them."""
        buffers = {name: trees["buffers"][name] for name in self.kept}
        return {**self._named(trees["parameters"]), **trees["frozen"], **buffers}

    def average(self) -> Tree | None:
        """Return the average of the weights, by name, buffers included; None where none is kept."""
        if "average" not in self.trees:
            return None
        kept = self.trees["average"]
        rest = {**self.trees["frozen"], **self.trees["buffers"]}
        return self._named(kept) | {name: value for name, value in kept.items() if name in rest}

    def optimizer_state(self) -> dict[str, Any]:
        """Return slots by parameter name, as the optimizer's class has them."""
        slots: dict[str, dict[str, Any]] = {name: {} for unit in self.units for name in unit.names}
        if not float(self.trees["clock"]["updates"]):  # a class makes its slots in its first step
            return {"optimizer": {}, "groups": None}
        for slot in self.slots:
            for name, value in self._named(self.trees[f"slots.{slot}"]).items():
                slots[name][slot] = value
        for unit in self.units:
            if self.rules[unit.group.rest].counts:
                for name in unit.names:
                    slots[name]["step"] = self.trees["clock"]["updates"]
        return {"optimizer": slots, "groups": None}

    def load_optimizer_state(self, state: Mapping[str, Any], *, steps: int) -> None:
        """Put back what `optimizer_state` returned, of whichever execution."""
        saved: Mapping[str, Mapping[str, Any]] = state["optimizer"]
        clock = next((own["step"] for own in saved.values() if "step" in own), steps if saved else 0)
        self.trees["clock"]["updates"].copy_(torch.as_tensor(clock))
        for unit in self.units:
            if any(name not in saved for name in unit.names):
                started = self.rules[unit.group.rest].start(self.trees["parameters"][unit.label])
                for slot, value in started.items():
                    self.trees[f"slots.{slot}"][unit.label].copy_(value)
        for slot in self.slots:
            for name, value in self._named(self.trees[f"slots.{slot}"]).items():
                if name not in saved:
                    continue
                if slot not in saved[name]:
                    raise CheckpointError(f"the optimizer's state of {name} has no {slot}: it is another optimizer.")
                if saved[name][slot] is not None:
                    value.copy_(saved[name][slot])

    def _trees(self, eager: EagerStep, *, averaged: bool) -> State:
        parameters = {name: value.detach() for name, value in eager.model.named_parameters()}
        updated = {name for unit in self.units for name in unit.names}
        weights = {unit.label: unit.join(parameters) for unit in self.units}
        buffers = {name: value.detach() for name, value in eager.model.named_buffers()}
        frozen = {name: value for name, value in parameters.items() if name not in updated}
        trees: State = {"parameters": weights, "buffers": buffers, "frozen": frozen}
        trees |= {f"slots.{slot}": {} for slot in self.slots}
        for unit in self.units:
            for slot, value in self.rules[unit.group.rest].start(weights[unit.label]).items():
                trees[f"slots.{slot}"][unit.label] = value
        if averaged:
            kept = {name: buffers[name] for name in self.kept}
            trees["average"] = {label: value.clone() for label, value in {**weights, **frozen, **kept}.items()}
        trees["meter"], trees["guard"], trees["clip"] = eager.meter.tensors(), eager.guard.tensors(), eager.clipping
        trees["scale"] = eager.scale.state_dict() if eager.scale is not None else {}
        trees["clock"] = {"updates": torch.zeros((), dtype=torch.float32, device=eager.meter.device)}
        return trees

    def _named(self, tree: Mapping[str, Tensor]) -> Tree:
        units = [unit for unit in self.units if unit.label in tree]
        return {name: piece for unit in units for name, piece in unit.split(tree[unit.label]).items()}


def cloned(trees: State) -> State:
    """Return a copy of a state's tensors with memory of its own."""
    return {group: {name: tensor.clone() for name, tensor in tree.items()} for group, tree in trees.items()}
