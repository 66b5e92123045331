"""A rule as a torch.optim.Optimizer, for the optimizers that torch has no class of.

Not for those that it has: torch's own classes are the reference that rules are tested against. An update never waits
for the device: where `found_inf` is set, as torch's fused classes take it, everything stays as it is by `torch.where`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoal.optim.rule import Rule, Tree

Groups = list[dict[str, Any]]
Closure = Callable[[], Any]


class RuleOptimizer(torch.optim.Optimizer):
    """One rule a parameter group, with hyperparameters as plain floats in the group, under the recipe's keys.

    Parameters that have been updated in the same steps share one tensor, `step`, which is replaced and never written:
    so they are updated together, and one that had no gradient for a while keeps its own count.
    """

    found_inf: Tensor | None
    """1 where this step is to change nothing, on the device; set by whoever knows, and missing otherwise."""
    grad_scale: Tensor | None
    """What gradients are to be divided by; `torch.amp.GradScaler` sets it, and takes it away."""

    def __init__(self, params: Groups, rules: Sequence[Rule], hyper: Mapping[str, float]) -> None:
        super().__init__(params, dict(hyper))
        assert len(rules) == len(self.param_groups)
        self.rules, self.keys = tuple(rules), tuple(hyper)
        self._step_supports_amp_scaling = True
        self.register_load_state_dict_post_hook(_regroup)

    @torch.no_grad()
    def step(self, closure: Closure | None = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Perform one update."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        groups: Groups = self.param_groups
        for rule, group in zip(self.rules, groups, strict=True):
            hyper: dict[str, float] = {key: group[key] for key in self.keys}
            for together in self._cohorts(rule, group["params"]):
                self._update(rule, together, hyper)
        return loss

    def regroup(self) -> None:
        """Let parameters of a group that have come equally far share their count again, after a state was loaded."""
        groups: Groups = self.param_groups
        for group in groups:
            shared: dict[tuple[torch.device, float], Tensor] = {}
            for parameter in group["params"]:
                slots: dict[str, Any] = self.state.get(parameter, {})
                if slots:
                    count: Tensor = slots["step"]
                    slots["step"] = shared.setdefault((count.device, count.item()), count)

    def _cohorts(self, rule: Rule, parameters: Sequence[nn.Parameter]) -> list[list[nn.Parameter]]:
        """The parameters that have a gradient, those with the same count together; slots are made where missing."""
        fresh: dict[torch.device, Tensor] = {}
        together: dict[int, list[nn.Parameter]] = {}
        for parameter in parameters:
            if parameter.grad is None:
                continue
            slots: dict[str, Any] = self.state[parameter]
            if not slots:
                device = parameter.device
                slots["step"] = fresh.setdefault(device, torch.zeros((), dtype=torch.float32, device=device))
                slots.update(rule.start(parameter))
            together.setdefault(id(slots["step"]), []).append(parameter)
        return list(together.values())

    def _update(self, rule: Rule, parameters: Sequence[nn.Parameter], hyper: Mapping[str, float]) -> None:
        states: list[dict[str, Tensor]] = [self.state[parameter] for parameter in parameters]
        named = {str(number): parameter.detach() for number, parameter in enumerate(parameters)}
        grads = {name: self._gradient(parameter) for name, parameter in zip(named, parameters, strict=True)}
        slots: dict[str, Tree] = {slot: {} for slot in rule.slots}
        for name, state in zip(named, states, strict=True):
            for slot in state.keys() & slots.keys():
                slots[slot][name] = state[slot]
        count = states[0]["step"]
        updated, after = rule.update(named, grads, slots, hyper, count + 1)
        bad: Tensor | None = getattr(self, "found_inf", None)
        skip = None if bad is None else bad.to(count.device, non_blocking=True) != 0
        counted = _unless(skip, count, count + 1)
        for name, parameter, state in zip(named, parameters, states, strict=True):
            parameter.copy_(_unless(skip, parameter, updated[name]))
            for slot, tree in after.items():
                if name in tree:
                    state[slot] = _unless(skip, state[slot], tree[name])
            state["step"] = counted

    def _gradient(self, parameter: nn.Parameter) -> Tensor:
        assert parameter.grad is not None
        scale: Tensor | None = getattr(self, "grad_scale", None)
        if scale is None:
            return parameter.grad
        return parameter.grad / scale.to(parameter.device, non_blocking=True)


def _unless(skip: Tensor | None, before: Tensor, after: Tensor) -> Tensor:
    return after if skip is None else torch.where(skip, before, after)


def _regroup(optimizer: torch.optim.Optimizer) -> None:
    assert isinstance(optimizer, RuleOptimizer)
    optimizer.regroup()
