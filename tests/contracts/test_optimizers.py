"""Every optimizer goes through the same checks: adding an entry to its tables adds its suite.

An entry is held to its formula (`tests/numerics/formulas.py`), its rule to its class; both to what they promise each
other: names and shapes of slots, a state that goes on bit for bit, schedules that reach the update, no step on the
device where `found_inf` is set. Rules are pure, can be traced, and give each run of a stack what it has alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from annotated_types import Ge, Gt, Le, Lt
from tests.numerics.formulas import FORMULAS, Case, Weights
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._python_dispatch import TorchDispatchMode

from shoal import optim
from shoal.checkpoints import newest, save
from shoal.errors import RecipeError
from shoal.optim import NamedGroup, Rule
from shoal.optim.state import COUNTERS
from shoal.recipe.fields import marks
from shoal.recipe.parse import parse
from shoal.recipe.tables import TABLES

STEPS, LONG = 20, 200
CPU = torch.device("cpu")
Keys = dict[str, Any]
Slots = dict[str, dict[str, Tensor]]

ENTRIES = sorted(name for name, cls in TABLES["optimizer"].items() if cls.__module__.startswith("shoal.recipe."))
WITH_RULE = [name for name in ENTRIES if name in optim.RULES]

VARIANTS: dict[str, list[Keys]] = {
    "sgd": [
        {"lr": 0.1, "momentum": 0.0},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
        {"lr": 0.05, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.1},
        {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.2, "decay_biases_and_norms": True},
    ],
    "adagrad": [{"lr": 0.05}, {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.2, "eps": 1e-3}],
    "rmsprop": [
        {"lr": 0.01},
        {"lr": 0.01, "alpha": 0.9, "momentum": 0.8, "weight_decay": 0.1, "eps": 1e-3},
        {"lr": 0.01, "alpha": 0.9, "centered": True, "eps": 0.01},
        {"lr": 0.01, "alpha": 0.9, "centered": True, "momentum": 0.5, "eps": 0.01},
    ],
    "adadelta": [{"lr": 1.0}, {"lr": 2.0, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1}],
    "adam": [{"lr": 0.1}, {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3}],
    "adamw": [
        {"lr": 0.1, "weight_decay": 0.0},
        {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3},
        {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "decay_biases_and_norms": True},
    ],
    "demon_adam": [{"lr": 1e-3}, {"lr": 2e-3, "beta1": 0.7, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.1}],
    "nadam": [
        {"lr": 0.01},
        {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "momentum_decay": 0.1},
        {"lr": 0.02, "weight_decay": 0.3, "decoupled": True},
    ],
    "radam": [
        {"lr": 0.01},
        {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3},
        {"lr": 0.02, "weight_decay": 0.3, "decoupled": True},
    ],
    "adamax": [{"lr": 0.01}, {"lr": 0.02, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3}],
    "lion": [{"lr": 0.01}, {"lr": 0.01, "weight_decay": 0.3, "beta1": 0.8, "beta2": 0.95}],
    "muon": [
        {"lr": 0.01},
        {"lr": 0.01, "nesterov": False, "momentum": 0.8, "adjust_lr": "original", "iterations": 3},
        {"lr": 0.01, "adjust_lr": "none", "weight_decay": 0.0, "exclude": "wide", "adamw_lr": 0.5},
    ],
    "adafactor": [
        {"lr": 0.05},
        {"lr": 0.2, "weight_decay": 0.1, "beta2_decay": -0.5, "eps1": 1e-4, "eps2": 0.01, "clip": 1.5},
    ],
    "schedule_free": [
        {"lr": 0.02},
        {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1, "beta2": 0.95, "eps": 1e-3, "r": 1.0, "lr_power": 1.0},
        {"base": "sgd", "lr": 0.1, "weight_decay": 0.1},
    ],
    "lbfgs": [
        {"lr": 0.3, "iterations": 1, "line_search": "none"},
        {"lr": 0.3, "iterations": 1, "history": 3, "line_search": "none"},
    ],
}
"""Keys under which an entry goes through its checks; between them, every key that enters the formula has moved.

Large steps of Adam show whether 1 - beta2^step was computed in float64: in float32 it is 6e-5 off at the first.
"""


@dataclass(frozen=True)
class Search:
    """How a minimum is looked for: keys, steps over which lr falls to 0, largest distance that is left."""

    keys: Keys
    steps: int
    within: float


PARABOLA, ROSENBROCK = "parabola", "rosenbrock"
MINIMA: dict[str, dict[str, Search]] = {
    "sgd": {PARABOLA: Search({"lr": 0.05}, 200, 0.01), ROSENBROCK: Search({"lr": 0.1}, 2000, 0.03)},
    "adagrad": {PARABOLA: Search({"lr": 1.0}, 200, 0.01), ROSENBROCK: Search({"lr": 1.5}, 6000, 0.05)},
    "rmsprop": {
        PARABOLA: Search({"lr": 0.1}, 300, 0.01),
        ROSENBROCK: Search({"lr": 0.02, "momentum": 0.9}, 3000, 0.03),
    },
    "adadelta": {
        PARABOLA: Search({"lr": 10.0}, 500, 0.01),
        ROSENBROCK: Search({"lr": 1.0, "eps": 1e-3, "rho": 0.5}, 6000, 0.15),
    },
    "adam": {PARABOLA: Search({"lr": 0.2}, 300, 0.01), ROSENBROCK: Search({"lr": 0.1}, 2000, 0.03)},
    "adamw": {
        PARABOLA: Search({"lr": 0.2, "weight_decay": 0}, 300, 0.01),
        ROSENBROCK: Search({"lr": 0.1, "weight_decay": 0}, 2000, 0.03),
    },
    "demon_adam": {PARABOLA: Search({"lr": 0.02}, 300, 0.01), ROSENBROCK: Search({"lr": 0.03}, 2000, 0.03)},
    "nadam": {PARABOLA: Search({"lr": 0.2}, 300, 0.01), ROSENBROCK: Search({"lr": 0.1}, 3000, 0.03)},
    "radam": {PARABOLA: Search({"lr": 0.2}, 300, 0.01), ROSENBROCK: Search({"lr": 0.1}, 3000, 0.03)},
    "adamax": {PARABOLA: Search({"lr": 0.2}, 300, 0.01), ROSENBROCK: Search({"lr": 0.05, "beta2": 0.99}, 3000, 0.03)},
    "lion": {PARABOLA: Search({"lr": 0.1}, 300, 0.01), ROSENBROCK: Search({"lr": 0.003}, 4000, 0.03)},
    "muon": {
        PARABOLA: Search({"lr": 0.5, "weight_decay": 0}, 300, 0.01),
        ROSENBROCK: Search({"lr": 0.1, "weight_decay": 0}, 2500, 0.03),
    },
    "adafactor": {PARABOLA: Search({"lr": 0.3}, 500, 0.01), ROSENBROCK: Search({"lr": 0.03}, 6000, 0.05)},
    "schedule_free": {PARABOLA: Search({"lr": 0.3}, 300, 0.01), ROSENBROCK: Search({"lr": 0.1, "r": 2}, 5000, 0.03)},
    "lbfgs": {
        PARABOLA: Search({}, 3, 0.01),
        ROSENBROCK: Search({}, 5, 0.03),
    },
}
"""From (2, -1) to (0, 0) of (x^2 + 10 y^2) / 2, and from (-1.2, 1) to (1, 1) of Rosenbrock's function over 100."""

SCHEDULED: dict[str, tuple[str, ...]] = {
    name: ("lr", "momentum", "weight_decay") for name in ENTRIES if name not in ("adagrad", "adadelta", "adafactor")
} | {
    "adagrad": ("lr", "weight_decay"),
    "adadelta": ("lr", "weight_decay"),
    "adafactor": ("lr", "weight_decay"),
    "schedule_free": ("lr", "weight_decay"),
    "lbfgs": ("lr",),
}
"""What a schedule can change of each entry."""
BASES: Keys = {"lr": 0.02, "momentum": 0.8, "weight_decay": 0.1}
OTHERS: Keys = {"lr": 0.015, "momentum": 0.2, "weight_decay": 0.2}

CASES = [(name, keys) for name in ENTRIES for keys in VARIANTS[name]]
RULE_CASES = [(name, keys) for name, keys in CASES if name in WITH_RULE]


class Network(nn.Module):
    """Matrices, one wide, one tall, one of a convolution, one shape twice; a bias, a norm, an embedding, one number."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.again = nn.Linear(4, 3)
        self.wide = nn.Linear(6, 2, bias=False)
        self.tall = nn.Linear(2, 5, bias=False)
        self.convolution = nn.Conv2d(2, 3, (2, 3), bias=False)
        self.norm = nn.LayerNorm((3, 2))
        self.table = nn.Embedding(5, 3)
        self.scale = nn.Parameter(torch.ones(()))


MATRICES = ("linear.weight", "again.weight", "wide.weight", "tall.weight", "convolution.weight")
DECAYED = (*MATRICES, "table.weight")


def network(dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(0)
    model = Network()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.uniform_(0.5, 1.5)  # a bias of zero would not show that it is decayed
    return model.to(dtype)


def part(name: str, keys: Mapping[str, Any]) -> Any:
    return parse({"optimizer": {"name": name, **keys}}).optimizer


def numbers(model: nn.Module) -> Weights:
    return {name: p.detach().double().numpy().copy() for name, p in model.named_parameters()}


def given(step: int, weights: Weights) -> Weights:
    """Gradients that do not depend on the weights, rounded to float32 as parameters take them."""
    return drawn(step, tuple((name, tuple(np.shape(x))) for name, x in weights.items()))


@cache
def drawn(step: int, shapes: tuple[tuple[str, tuple[int, ...]], ...]) -> Weights:
    generator = np.random.default_rng(step)
    return {name: generator.normal(size=shape).astype(np.float32).astype(float) for name, shape in shapes}


def slopes(step: int, weights: Weights) -> Weights:
    """Those of a parabola along every weight, each with its own curvature and minimum."""
    generator = np.random.default_rng(0)
    return {
        name: generator.uniform(0.5, 2, np.shape(x)) * (x - generator.normal(size=np.shape(x)))
        for name, x in weights.items()
    }


def gradients_of(name: str) -> Callable[[int, Weights], Weights]:
    """Of what is trained: L-BFGS needs gradients that are those of one function."""
    return slopes if name == "lbfgs" else given


def dtype_of(name: str) -> torch.dtype:
    """L-BFGS estimates curvature from differences of gradients: in float32, rounding grows to 1e-4 in 20 steps."""
    return torch.float64 if name == "lbfgs" else torch.float32


@cache
def given_tensors(step: int) -> dict[str, Tensor]:
    return {name: torch.as_tensor(g, dtype=torch.float32) for name, g in given(step, numbers(Network())).items()}


def put(model: nn.Module, gradients: Mapping[str, Any]) -> None:
    for name, parameter in model.named_parameters():
        parameter.grad = torch.as_tensor(gradients[name], dtype=parameter.dtype).clone()


def train(
    name: str, model: nn.Module, optimizer: torch.optim.Optimizer, first: int, last: int, **scheduled: float
) -> None:
    """Perform steps of a class, with the values of some hyperparameters written before each."""
    writers = optim.writers(optimizer, scheduled)
    for step in range(first, last):
        for write, value in zip(writers, scheduled.values(), strict=True):
            write(value)

        def loss(step: int = step) -> Tensor:
            put(model, slopes(step, numbers(model)) if name == "lbfgs" else given_tensors(step))
            return torch.tensor(float(last - step))  # no two alike: L-BFGS stops where losses do not change

        if optim.needs_closure(optimizer):
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()


class Functional:
    """A rule over a model's parameters, as a functional step uses it: hyperparameters as floats or as tensors."""

    def __init__(self, name: str, keys: Keys, model: nn.Module, make: Callable[[float], Any] = float) -> None:
        self.part = part(name, keys)
        self.params = {name: p.detach().clone() for name, p in model.named_parameters()}
        self.hyper = {key: make(value) for key, value in optim.hypers_of(self.part).items()}
        self.groups: list[tuple[NamedGroup, Rule]] = []
        self.slots: Slots = {}
        for group in optim.named_groups(self.part, model):
            rule = optim.rule_of(self.part, rest=group.rest)
            assert rule is not None
            self.groups.append((group, rule))
            for parameter in group.names:
                for slot, value in rule.start(self.params[parameter]).items():
                    self.slots.setdefault(slot, {})[parameter] = value

    def step(self, number: int, gradients: Mapping[str, Any]) -> None:
        grads = {name: torch.as_tensor(g, dtype=self.params[name].dtype) for name, g in gradients.items()}
        for group, rule in self.groups:
            params, slots, own = self.of(group, rule, grads)
            params, slots = rule.update(params, own, slots, group.scaled(self.hyper), torch.tensor(float(number)))
            self.params |= params
            for slot, tree in slots.items():
                self.slots[slot] |= tree

    def of(
        self, group: NamedGroup, rule: Rule, grads: dict[str, Tensor]
    ) -> tuple[dict[str, Tensor], Slots, dict[str, Tensor]]:
        slots = {s: {n: self.slots[s][n] for n in group.names if n in self.slots.get(s, {})} for s in rule.slots}
        return {n: self.params[n] for n in group.names}, slots, {n: grads[n] for n in group.names}


def double(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


MAKES: dict[str, Callable[[float], Any]] = {"floats": float, "tensors": double}


def expected(name: str, keys: Keys, model: nn.Module, steps: int = STEPS) -> Weights:
    """What the formula says."""
    everything = part(name, keys).model_dump()
    before = numbers(model)
    decayed = set(before) if everything["decay_biases_and_norms"] else set(DECAYED)
    matrices = [m for m in MATRICES if not m.startswith(tuple(everything.get("exclude", ())) or ("-",))]
    return FORMULAS[name](Case(before, gradients_of(name), steps, decayed, matrices), everything)


def assert_near(found: Weights, wanted: Weights, share: float = 1e-6) -> None:
    for key, value in wanted.items():
        np.testing.assert_allclose(found[key], value, rtol=0, atol=share * np.abs(value).max(), err_msg=key)


def test_every_entry_goes_through_the_suite() -> None:
    assert sorted(optim.BUILDERS.keys() & set(ENTRIES)) == ENTRIES
    for table in (FORMULAS, VARIANTS, MINIMA, SCHEDULED):
        assert sorted(table) == ENTRIES, "a new optimizer goes through these checks: give it a row here"
    assert set(optim.RULES) <= set(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_that_can_be_stacked_has_a_rule(name: str) -> None:
    """The marks are what a planner reads: one without a rule is stacked by none of its keys."""
    stackable = [
        key for key, field in TABLES["optimizer"][name].model_fields.items() if key != "name" and marks(field).stackable
    ]
    assert bool(stackable) == (name in WITH_RULE)


@pytest.mark.parametrize(("name", "keys"), CASES)
def test_a_class_is_its_formula(name: str, keys: Keys) -> None:
    model = network(dtype_of(name))
    wanted = expected(name, keys, model)
    train(name, model, optim.build(part(name, keys), model, CPU), 0, STEPS)
    assert_near(numbers(model), wanted)


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(("name", "keys"), RULE_CASES)
def test_a_rule_is_its_formula(name: str, keys: Keys, make: str) -> None:
    model = network()
    functional = Functional(name, keys, model, MAKES[make])
    for step in range(STEPS):
        functional.step(step + 1, given(step, functional.params))
    assert_near({key: value.double().numpy() for key, value in functional.params.items()}, expected(name, keys, model))


@pytest.mark.parametrize(("name", "keys"), RULE_CASES)
def test_a_rule_follows_its_class_for_200_steps(name: str, keys: Keys) -> None:
    """Both in float32, along gradients that are given: rounding adds up, and is not multiplied by what is trained."""
    model = network()
    functional = Functional(name, keys, model, double)
    train(name, model, optim.build(part(name, keys), model, CPU), 0, LONG)
    for step in range(LONG):
        functional.step(step + 1, given_tensors(step))
    found = {key: value.double().numpy() for key, value in functional.params.items()}
    assert_near(found, numbers(model), share=5e-6)


def parabola(x: float, y: float) -> tuple[float, tuple[float, float]]:
    return (x * x + 10 * y * y) / 2, (x, 10 * y)


def rosenbrock(x: float, y: float) -> tuple[float, tuple[float, float]]:
    across = y - x * x
    return (1 - x) ** 2 / 100 + across**2, (-(1 - x) / 50 - 4 * x * across, 2 * across)


SURFACES = {PARABOLA: (parabola, (2.0, -1.0), (0.0, 0.0)), ROSENBROCK: (rosenbrock, (-1.2, 1.0), (1.0, 1.0))}


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("name", ENTRIES)
def test_an_optimizer_comes_to_the_minimum(name: str, surface: str) -> None:
    """The weights are a matrix of one row, so that Muon is Muon; where an average is what counts, the average."""
    function, start, minimum = SURFACES[surface]
    search = MINIMA[name][surface]
    model = nn.Linear(2, 1, bias=False, dtype=torch.float64)
    model.weight.data = torch.tensor([start], dtype=torch.float64)
    optimizer = optim.build(part(name, search.keys), model, CPU)
    (write,), lr = optim.writers(optimizer, ["lr"]), optim.base_value(optimizer, "lr")

    def loss() -> Tensor:
        value, slope = function(*model.weight.tolist()[0])
        model.weight.grad = torch.tensor([slope], dtype=torch.float64)
        return torch.tensor(value)

    for step in range(search.steps):
        write(lr * (1 - step / search.steps))
        if optim.needs_closure(optimizer):
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()
    reached = optim.point_average(optimizer, model) or {"weight": model.weight.detach()}
    assert np.abs(reached["weight"].numpy()[0] - minimum).max() < search.within


@pytest.mark.parametrize(("name", "keys"), CASES)
def test_saved_in_the_middle_it_goes_on_bit_for_bit(name: str, keys: Keys, tmp_path: Path) -> None:
    model = network(dtype_of(name))
    optimizer = optim.build(part(name, keys), model, CPU)
    train(name, model, optimizer, 0, STEPS // 2)
    state = {
        "weights": model.state_dict(),
        "slots": optim.named_state(optimizer, model),
        "groups": optim.group_state(optimizer),
    }
    save(tmp_path, STEPS // 2, {"all": state}, {})
    train(name, model, optimizer, STEPS // 2, STEPS)

    loaded = newest(tmp_path)
    assert loaded is not None
    again = network(dtype_of(name))
    again.load_state_dict(loaded.states["all"]["weights"])
    second = optim.build(part(name, keys), again, CPU)
    optim.load_named_state(second, again, loaded.states["all"]["slots"])
    optim.load_group_state(second, loaded.states["all"]["groups"])
    train(name, again, second, STEPS // 2, STEPS)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    same(optim.named_state(optimizer, model), optim.named_state(second, again))


def same(left: Any, right: Any) -> None:
    """Assert that two states are the same, bit for bit, all the way down."""
    assert type(left) is type(right)
    if isinstance(left, Tensor):
        assert torch.equal(left, right)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key in left:
            same(left[key], right[key])
    elif isinstance(left, list | tuple):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            same(one, other)
    else:
        assert left == right


@pytest.mark.parametrize(("name", "keys"), RULE_CASES)
def test_slots_of_rule_and_class_have_the_same_names_and_shapes(name: str, keys: Keys) -> None:
    model = network()
    optimizer = optim.build(part(name, keys), model, CPU)
    functional = Functional(name, keys, model)
    train(name, model, optimizer, 0, 1)
    counted = set[str]()
    for parameter, slots in optim.named_state(optimizer, model).items():
        own = {slot: tree[parameter] for slot, tree in functional.slots.items() if parameter in tree}
        assert own.keys() == slots.keys() - {"step"}
        assert all(own[slot].shape == slots[slot].shape and own[slot].dtype == slots[slot].dtype for slot in own)
        counted |= {"step"} & slots.keys()
    for _, rule in functional.groups:
        assert rule.counts == bool(counted)


def scheduled() -> Iterator[tuple[str, str]]:
    for name in ENTRIES:
        yield from ((name, what) for what in SCHEDULED[name])


def keyed(name: str, values: Keys) -> Keys:
    """The values under the entry's own keys; those that can be scheduled alone."""
    named = {what: values[what] for what in SCHEDULED[name]}
    fixed = {"line_search": "none"} if name == "lbfgs" else {}  # a search begins at lr, and ends anywhere
    return fixed | {optim.hyper_name(part(name, {}), what): value for what, value in named.items()}


@pytest.mark.parametrize(("name", "what"), list(scheduled()))
def test_what_is_scheduled_reaches_the_update(name: str, what: str) -> None:
    """Written before every step, it does what the recipe's own value does; and that is not what it did before."""
    base, other = keyed(name, BASES), keyed(name, {**BASES, what: OTHERS[what]})
    models = [network(dtype_of(name)) for _ in range(3)]
    train(name, models[0], optim.build(part(name, base), models[0], CPU), 0, 5)
    train(name, models[1], optim.build(part(name, base), models[1], CPU), 0, 5, **{what: OTHERS[what]})
    train(name, models[2], optim.build(part(name, other), models[2], CPU), 0, 5)
    before, written, built = (numbers(model)["linear.weight"] for model in models)
    np.testing.assert_array_equal(written, built)
    assert not np.allclose(before, written)


@pytest.mark.parametrize("name", ENTRIES)
def test_what_cannot_be_scheduled_is_refused_with_what_can(name: str) -> None:
    model = network()
    optimizer = optim.build(part(name, {}), model, CPU)
    there = ", ".join(SCHEDULED[name])
    for what in {"lr", "momentum", "weight_decay"} - set(SCHEDULED[name]):
        message = rf"schedules\.{what}: .* has no {what} to schedule.*; it has: {there}\. Leave out"
        with pytest.raises(RecipeError, match=message):
            optim.base_value(optimizer, what)
        with pytest.raises(RecipeError, match=message):
            optim.hyper_name(part(name, {}), what)
    for what in SCHEDULED[name]:
        assert optim.base_value(optimizer, what) == getattr(part(name, {}), optim.hyper_name(part(name, {}), what))


def bounds() -> Iterator[tuple[str, str, float]]:
    """A value just outside of every bound of every key."""
    for name in ENTRIES:
        for key, field in TABLES["optimizer"][name].model_fields.items():
            for bound in field.metadata:
                match bound:
                    case Gt(gt=limit) | Lt(lt=limit):
                        yield name, key, limit
                    case Ge(ge=limit):
                        yield name, key, limit - (1 if isinstance(limit, int) and limit > 0 else 1e-9)
                    case Le(le=limit):
                        yield name, key, limit + (1 if key == "iterations" else 1e-9)
                    case _:
                        pass


@pytest.mark.parametrize(("name", "key", "value"), list(bounds()))
def test_a_bad_value_is_refused(name: str, key: str, value: float) -> None:
    with pytest.raises(RecipeError, match=rf"optimizer\.{key} = .*: expected a "):
        part(name, {key: value})


@pytest.mark.parametrize("name", ENTRIES)
def test_numbers_of_a_recipe_have_bounds(name: str) -> None:
    bounded = {(entry, key) for entry, key, _ in bounds()}
    for key, field in TABLES["optimizer"][name].model_fields.items():
        if isinstance(field.default, float):
            assert (name, key) in bounded, key


RUNS = 3


def spread(value: float) -> Tensor:
    """Values of three runs around one; betas stay below 1, and what is off is off in one run alone."""
    shares = torch.tensor([1.0, 0.9, 0.5], dtype=torch.float64)
    return shares * value


@pytest.mark.parametrize(("name", "keys"), RULE_CASES)
def test_each_run_of_a_stack_is_what_it_is_alone(name: str, keys: Keys) -> None:
    """Under vmap over runs, each with hyperparameters of its own, as tensors of [runs]; to rounding."""
    model = network()
    stacked = Functional(name, keys, model, spread)
    alone = [Functional(name, keys, model, lambda value, run=run: spread(value)[run]) for run in range(RUNS)]
    offsets = torch.linspace(0, 0.5, RUNS)

    def whole(tree: dict[str, Tensor]) -> dict[str, Tensor]:
        return {key: torch.stack([value] * RUNS) for key, value in tree.items()}

    params, slots = whole(stacked.params), {slot: whole(tree) for slot, tree in stacked.slots.items()}
    for step in range(5):
        gradients = given(step, stacked.params)
        for run, functional in enumerate(alone):
            functional.step(step + 1, {key: value + float(offsets[run]) for key, value in gradients.items()})
        grads = {
            key: torch.stack([torch.as_tensor(g + float(offsets[run]), dtype=torch.float32) for run in range(RUNS)])
            for key, g in gradients.items()
        }
        for group, rule in stacked.groups:
            own = {n: params[n] for n in group.names}
            kept = {s: {n: slots[s][n] for n in group.names if n in slots.get(s, {})} for s in rule.slots}
            updated, after = torch.func.vmap(rule.update, in_dims=(0, 0, 0, 0, None))(
                own,
                {n: grads[n] for n in group.names},
                kept,
                {
                    k: v if isinstance(v, Tensor) else torch.full((RUNS,), v)
                    for k, v in group.scaled(stacked.hyper).items()
                },
                torch.tensor(step + 1.0),
            )
            params |= updated
            for slot, tree in after.items():
                slots[slot] |= tree
    for run, functional in enumerate(alone):
        for key, value in functional.params.items():
            assert params[key].dtype == value.dtype
            torch.testing.assert_close(params[key][run], value, rtol=1e-5, atol=1e-6)
        for slot, tree in functional.slots.items():
            for key, value in tree.items():
                torch.testing.assert_close(slots[slot][key][run], value, rtol=1e-5, atol=1e-6)


def with_fixed(rule: Rule, fixed: dict[str, float]) -> Callable[..., Any]:
    """The update as a function of tensors alone."""

    def update(params: Any, grads: Any, slots: Any, tensors: Any, step: Tensor) -> Any:
        return rule.update(params, grads, slots, {**fixed, **tensors}, step)

    return update


RECORDED = [(name, keys, "tensors") for name, keys in RULE_CASES] + [(n, VARIANTS[n][-1], "floats") for n in WITH_RULE]


@pytest.mark.parametrize(("name", "keys", "make"), RECORDED)
def test_a_rule_can_be_recorded_and_replayed_with_other_values(name: str, keys: Keys, make: str) -> None:
    """Two parameters of each group are enough, and recording takes half a millisecond an operation."""
    functional = Functional(name, keys, network(), MAKES[make])
    grads = {key: torch.as_tensor(g, dtype=torch.float32) for key, g in given(0, functional.params).items()}
    for group, rule in functional.groups:
        params, slots, own = functional.of(replace(group, names=group.names[:2]), rule, grads)
        hyper = group.scaled(functional.hyper)
        tensors = {key: value for key, value in hyper.items() if isinstance(value, Tensor)}
        update = with_fixed(rule, {key: value for key, value in hyper.items() if not isinstance(value, Tensor)})
        recorded = make_fx(update)(params, own, slots, tensors, torch.tensor(1.0))
        assert not [node for node in recorded.graph.nodes if "_local_scalar_dense" in str(node.target)]
        other, step = {key: value * 0.5 for key, value in tensors.items()}, torch.tensor(7.0)
        same(list(recorded(params, own, slots, other, step)), list(update(params, own, slots, other, step)))


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize(("name", "keys"), RULE_CASES)
def test_a_rule_writes_nothing_and_keeps_dtypes(name: str, keys: Keys, make: str) -> None:
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        functional = Functional(name, keys, network(dtype), MAKES[make])
        grads = {key: torch.as_tensor(g, dtype=dtype) for key, g in given(0, functional.params).items()}
        for group, rule in functional.groups:
            params, slots, own = functional.of(group, rule, grads)
            before = [{k: v.clone() for k, v in tree.items()} for tree in (params, own, *slots.values())]
            updated, after = rule.update(params, own, slots, group.scaled(functional.hyper), torch.tensor(1.0))
            same(before, [params, own, *slots.values()])
            assert {k: v.dtype for k, v in updated.items()} == dict.fromkeys(group.names, dtype)
            for slot, tree in slots.items():
                assert {k: v.dtype for k, v in tree.items()} == {k: v.dtype for k, v in after[slot].items()}
                assert {k: v.shape for k, v in tree.items()} == {k: v.shape for k, v in after[slot].items()}


@pytest.mark.parametrize(("name", "keys"), RULE_CASES)
def test_elementwise_rules_update_parameters_that_are_joined(name: str, keys: Keys) -> None:
    functional = Functional(name, keys, network(), double)

    def flat(tree: dict[str, Tensor]) -> dict[str, Tensor]:
        values = list(tree.values())
        shapes = [functional.params[key].shape for key in tree]
        joined = all(value.shape == shape for value, shape in zip(values, shapes, strict=True))
        return {"flat": torch.cat([value.ravel() for value in values]) if joined else values[0]}

    for group, rule in functional.groups:
        if not rule.elementwise:
            continue
        grads = {key: torch.as_tensor(g, dtype=torch.float32) for key, g in given(0, functional.params).items()}
        params, slots, own = functional.of(group, rule, grads)
        hyper, step = group.scaled(functional.hyper), torch.tensor(1.0)
        updated, _ = rule.update(params, own, slots, hyper, step)
        joined, _ = rule.update(
            flat(params), flat(own), {slot: flat(tree) for slot, tree in slots.items()}, hyper, step
        )
        assert torch.equal(joined["flat"], flat(updated)["flat"])


def test_what_is_elementwise_is_known() -> None:
    """A rule that looks at more than one number at a time must say so: joined with others, it would be another."""
    together = {name for name in WITH_RULE if not optim.rule_of(part(name, {})).elementwise}  # pyright: ignore[reportOptionalMemberAccess]
    assert together == {"muon", "adafactor"}


@pytest.mark.parametrize(("name", "keys"), CASES)
def test_found_inf_leaves_weights_and_state_alone(name: str, keys: Keys) -> None:
    """At the first step too: what torch's kernels leave uninitialised then must not be there at the second."""
    for first in (0, 3):
        model, undisturbed = network(), network()
        optimizer, other = (optim.build(part(name, keys), m, CPU) for m in (model, undisturbed))
        if not getattr(optimizer, "_step_supports_amp_scaling", False):
            assert name in optim.SYNCHRONISES or keys.get("dampening"), (
                "a guard would read the host, and no page says so"
            )
            return
        train(name, model, optimizer, 0, first)
        train(name, undisturbed, other, 0, first)
        optimizer.found_inf = torch.ones(())  # pyright: ignore[reportAttributeAccessIssue]
        put(model, {key: np.full_like(x, np.nan) for key, x in numbers(model).items()})
        optimizer.step()
        same(numbers_as_tensors(model), numbers_as_tensors(undisturbed))
        optimizer.found_inf = torch.zeros(())  # pyright: ignore[reportAttributeAccessIssue]
        train(name, model, optimizer, first, first + 3)
        train(name, undisturbed, other, first, first + 3)
        same(numbers_as_tensors(model), numbers_as_tensors(undisturbed))
        same(optim.named_state(optimizer, model), optim.named_state(other, undisturbed))


def numbers_as_tensors(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


class Readings(TorchDispatchMode):
    """Counts the numbers that the host reads of tensors, but for counters that torch keeps on the host."""

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        super().__init__()
        states: Any = optimizer.state
        self.counters = {id(slots[slot]) for slots in states.values() for slot in COUNTERS if slot in slots}
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and id(args[0]) not in self.counters:
            self.count += 1
        return func(*args, **(kwargs or {}))


READING = {"adafactor", "lbfgs"}
"""Entries whose classes themselves read values of the device; the others are only guarded so."""


@pytest.mark.parametrize("name", ENTRIES)
def test_only_what_is_said_to_synchronise_reads_the_device_in_a_step(name: str) -> None:
    model = network()
    optimizer = optim.build(part(name, {}), model, CPU)
    train(name, model, optimizer, 0, 2)
    put(model, gradients_of(name)(2, numbers(model)))
    with Readings(optimizer) as readings:
        if optim.needs_closure(optimizer):
            optimizer.step(lambda: torch.tensor(0.5))
        else:
            optimizer.step()
    assert bool(readings.count) == (name in READING)
    guarded = not getattr(optimizer, "_step_supports_amp_scaling", False)
    assert guarded == (name in optim.SYNCHRONISES)


FUSED = [(name, keys) for name, keys in RULE_CASES if isinstance(optim.rule_of(part(name, keys)), optim.Fused)]


def test_what_torch_has_a_kernel_for_is_fused() -> None:
    assert {name for name, _ in FUSED} == {"sgd", "adagrad", "adam", "adamw"}


@pytest.mark.parametrize("lr", [torch.float32, torch.float64, None])
@pytest.mark.parametrize(("name", "keys"), FUSED)
def test_a_fused_update_can_be_recorded_and_is_the_class(name: str, keys: Keys, lr: torch.dtype | None) -> None:
    """Recorded at another learning rate than it is replayed with, where that is a tensor."""
    model = network()
    functional = Functional(name, keys, model)
    rule: Any = optim.rule_of(functional.part)
    hyper = {k: v for k, v in functional.hyper.items() if k != "lr"} | {"weight_decay": 0.0}
    rates = [functional.hyper["lr"]] * 2 if lr is None else [torch.tensor(v, dtype=lr) for v in (9.0, keys["lr"])]
    if not rule.fusable({**hyper, "lr": rates[0]}):
        assert keys.get("dampening")
        return

    def update(params: Any, grads: Any, slots: Any, lr: Any, steps: Any, found_inf: Tensor) -> Any:
        rule.fused(params, grads, slots, {**hyper, "lr": lr}, steps, found_inf)
        return params

    def fresh() -> tuple[list[Tensor], dict[str, list[Tensor]], list[Tensor]]:
        params = [value.clone() for value in functional.params.values()]
        slots = {s: [tree[n].clone() for n in functional.params] for s, tree in functional.slots.items()}
        return params, slots, [torch.zeros(()) for _ in params]

    params, slots, steps = fresh()
    first = [torch.zeros_like(value) for value in params]
    recorded = make_fx(update)(params, first, slots, rates[0], steps, torch.zeros(()))
    recorded.graph.eliminate_dead_code()
    recorded.recompile()
    params, slots, steps = fresh()
    for step in range(STEPS):
        grads = [torch.as_tensor(g, dtype=torch.float32) for g in given(step, functional.params).values()]
        recorded(params, grads, slots, rates[1], steps, torch.zeros(()))
    before = [value.clone() for value in (*params, *slots.get("exp_avg", []), *steps)]
    recorded(params, [torch.full_like(p, torch.nan) for p in params], slots, rates[1], steps, torch.ones(()))
    same(before, [*params, *slots.get("exp_avg", []), *steps])
    train(name, model, optim.build(part(name, {**keys, "weight_decay": 0.0}), model, CPU), 0, STEPS)
    for value, parameter in zip(params, model.parameters(), strict=True):
        torch.testing.assert_close(value, parameter.detach(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", sorted({name for name, _ in FUSED}))
def test_a_kernel_takes_no_tensor_but_the_learning_rate(name: str) -> None:
    rule: Any = optim.rule_of(part(name, {}))
    hyper = optim.hypers_of(part(name, {}))
    assert rule.fusable({**hyper, "lr": double(0.1)})
    for key in hyper.keys() - {"lr"}:
        assert not rule.fusable({**hyper, key: double(hyper[key])}), key
