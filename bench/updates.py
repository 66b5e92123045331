"""Time of one update, without forward and backward, of every optimizer against fused SGD's, in its two forms.

`class` is the torch.optim class that serves eager execution; `rule` is the pure update, recorded once as tensor
operations and replayed, with the learning rate as a tensor, and with parameters joined end to end where the rule is
elementwise. All take turns, update by update, in one process; a repeat is the median of many updates of each. L-BFGS
is left out: its step evaluates the loss.

    python bench/updates.py [--repeats 5] [--seconds 4] [--threads N] [--device cpu] [--cases digits_mlp] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from shoal import models, optim
from shoal.recipe.compose import compose

CASES = {"digits_mlp": (1, 8, 8), "mnist_cnn": (1, 28, 28)}
FIRST = ("sgd", "class")
Update = Callable[[], object]


def contenders(case: str, device: torch.device) -> dict[tuple[str, str], Update]:
    """Every optimizer's update, over a model of its own with fixed gradients."""
    found: dict[tuple[str, str], Update] = {}
    for name in optim.BUILDERS:
        part = compose(case, [f"optimizer={name}"]).optimizer
        model = models.build(compose(case, []).model, input_shape=CASES[case], outputs=10).to(device)
        for parameter in model.parameters():
            parameter.grad = torch.randn_like(parameter) * 1e-3
        optimizer = optim.build(part, model, device)
        if optim.needs_closure(optimizer):
            continue
        found[name, "class"] = optimizer.step
        if name in optim.RULES:
            found[name, "rule"] = replayed(part, model)
    return found


def replayed(part, model) -> Update:
    """The rules of all groups, recorded with a scheduled learning rate and writing back what they return."""
    parameters = {name: p.detach().clone() for name, p in model.named_parameters()}
    hyper = {**optim.hypers_of(part), "lr": torch.tensor(part.lr, dtype=torch.float64, device=device_of(model))}
    updates = [recorded(part, group, parameters, model, hyper) for group in optim.named_groups(part, model)]
    return lambda: [update() for update in updates]


def device_of(model) -> torch.device:
    """Where a model is."""
    return next(model.parameters()).device


def recorded(part, group, parameters, model, hyper) -> Update:
    """One group's rule."""
    rule = optim.rule_of(part, rest=group.rest)
    gradients = {name: model.get_parameter(name).grad for name in group.names}
    params = {name: parameters[name] for name in group.names}
    if rule.elementwise:
        params, gradients = ({"flat": torch.cat([v.ravel() for v in tree.values()])} for tree in (params, gradients))
    slots = {slot: {} for slot in rule.slots}
    for name, parameter in params.items():
        for slot, value in rule.start(parameter).items():
            slots[slot][name] = value
    count = torch.zeros((), device=device_of(model))

    def update(params, gradients, slots, count):
        count.add_(1)
        updated, after = rule.update(params, gradients, slots, group.scaled(hyper), count)
        for before, now in ((params, updated), *((slots[slot], after[slot]) for slot in slots)):
            for name, value in now.items():
                before[name].copy_(value)
        return count

    graph = make_fx(update)(params, gradients, slots, count)
    return lambda: graph(params, gradients, slots, count)


def repeat(
    updates: dict[tuple[str, str], Update], seconds: float, device: torch.device
) -> dict[tuple[str, str], float]:
    """Median seconds of an update of each, over turns that take `seconds` in all."""
    taken, calls, began = {key: [] for key in updates}, 0, time.perf_counter()
    while time.perf_counter() - began < seconds or calls < 3:
        for key, update in updates.items():
            wait(device)
            start = time.perf_counter()
            update()
            wait(device)
            taken[key].append(time.perf_counter() - start)
        calls += 1
    return {key: statistics.median(times) for key, times in taken.items()}


def wait(device: torch.device) -> None:
    """Let a device finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = torch.device(arguments.device)
    for case in arguments.cases.split(","):
        torch.manual_seed(0)
        updates = contenders(case, device)
        repeat(updates, 0.5, device)
        taken = [repeat(updates, arguments.seconds, device) for _ in range(arguments.repeats)]
        for key in updates:
            median = statistics.median(times[key] for times in taken)
            ratio = statistics.median(times[key] / times[FIRST] for times in taken)
            contender = " ".join(key)
            if arguments.json:
                row = {"case": case, "contender": contender, "median": median, "ratio": ratio, "n": len(taken)}
                print(json.dumps(row), flush=True)
            else:
                print(
                    f"{case:<11} {contender:<20} {median * 1e6:9.1f} us  ratio {ratio:6.2f}  n={len(taken)}", flush=True
                )


if __name__ == "__main__":
    main()
