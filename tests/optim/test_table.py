"""Which parameters are decayed, which class serves, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from torch import nn

from shoal import optim
from shoal.errors import RecipeError
from shoal.optim.groups import parameter_groups
from shoal.recipe.parse import parse
from shoal.recipe.tables import TABLES

CPU = torch.device("cpu")


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 2, 3)
        self.batch = nn.BatchNorm2d(2)
        self.layer = nn.LayerNorm((2, 6))
        self.root = nn.RMSNorm((2, 6))
        self.group = nn.GroupNorm(1, 2)
        self.linear = nn.Linear(12, 2)
        self.scale = nn.Parameter(torch.ones(()))
        self.table = nn.Embedding(3, 2)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def part(name: str = "sgd", **keys: Any) -> Any:
    return parse({"optimizer": {"name": name, **keys}}).optimizer


def names(model: nn.Module, group: dict[str, Any]) -> set[str]:
    identities = {id(p) for p in group["params"]}
    return {name for name, p in model.named_parameters() if id(p) in identities}


def test_weights_are_decayed_and_biases_norms_and_single_numbers_are_not() -> None:
    model = Network()
    decayed, bare = parameter_groups(part(weight_decay=0.1), model)
    assert names(model, decayed) == {"convolution.weight", "linear.weight", "table.weight"}
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert names(model, bare) == trainable - names(model, decayed)
    assert bare["weight_decay"] == 0


def test_all_are_decayed_where_it_says_so() -> None:
    model = Network()
    (only,) = parameter_groups(part(weight_decay=0.1, decay_biases_and_norms=True), model)
    assert names(model, only) == {name for name, p in model.named_parameters() if p.requires_grad}
    assert "weight_decay" not in only


def test_without_weight_decay_there_is_one_group() -> None:
    assert len(parameter_groups(part(weight_decay=0), Network())) == 1


def test_a_shared_weight_is_updated_once() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[1].weight = model[0].weight
    optimizer = optim.build(part(weight_decay=0.1), model, CPU)
    assert sum(len(group["params"]) for group in optimizer.param_groups) == 3


CLASSES = [
    ("sgd", torch.optim.SGD),
    ("adagrad", torch.optim.Adagrad),
    ("adam", torch.optim.Adam),
    ("adamw", torch.optim.AdamW),
]


@pytest.mark.parametrize(("name", "cls"), CLASSES)
def test_the_fused_class_serves_where_the_device_has_it(name: str, cls: type) -> None:
    optimizer = optim.build(part(name), Network(), CPU)
    assert type(optimizer) is cls
    assert optimizer.defaults["fused"]
    elsewhere = optim.BUILDERS[name](part(name), parameter_groups(part(name), Network()), False)
    assert type(elsewhere) is cls
    assert not elsewhere.defaults["fused"]


def test_dampening_has_no_fused_class() -> None:
    """torch's kernel knows only its own first step, which `found_inf` may skip, with the momentum left unwritten."""
    assert not optim.build(part(dampening=0.1), Network(), CPU).defaults["fused"]
    assert optim.build(part(dampening=0.1, momentum=0), Network(), CPU).defaults["fused"]


def test_a_skipped_first_step_leaves_torchs_own_momentum_unwritten() -> None:
    """Why Shoal's is there before the first step: torch's is made of whatever the memory holds."""
    weight = nn.Parameter(torch.ones(3))
    optimizer: Any = torch.optim.SGD([weight], lr=0.1, momentum=0.9, fused=True)
    weight.grad, optimizer.found_inf = torch.full((3,), torch.nan), torch.ones(())
    with_filled_memory(optimizer.step)
    assert optimizer.state[weight]["momentum_buffer"].isnan().all(), "mended in torch: build() may be simpler"


def with_filled_memory(call: Callable[[], Any]) -> None:
    """Let memory that is handed out uninitialised hold NaN, as torch's deterministic mode does."""
    before = torch.utils.deterministic.fill_uninitialized_memory, torch.are_deterministic_algorithms_enabled()
    torch.utils.deterministic.fill_uninitialized_memory = True
    torch.use_deterministic_algorithms(True)
    try:
        call()
    finally:
        torch.utils.deterministic.fill_uninitialized_memory = before[0]
        torch.use_deterministic_algorithms(before[1])


def test_a_parameter_whose_first_gradient_comes_late_is_updated_then() -> None:
    """torch's fused SGD would meet a momentum that is None beside others that are not."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    optimizer = optim.build(part(), model, CPU)
    for late in (False, True):
        for layer, used in zip(model, (True, late), strict=True):
            for parameter in layer.parameters():
                parameter.grad = torch.ones_like(parameter) if used else None
        before = model[1].weight.detach().clone()
        optimizer.step()
        assert torch.equal(model[1].weight, before) != late


def test_nesterov_takes_no_dampening() -> None:
    with pytest.raises(RecipeError, match=r"expected dampening=0 with nesterov=true, not 0\.5"):
        part(nesterov=True, dampening=0.5)


def test_hyperparameters_are_those_that_a_stack_may_vary() -> None:
    assert optim.hypers_of(part("lion", lr=0.5)) == {"lr": 0.5, "weight_decay": 0, "beta1": 0.9, "beta2": 0.99}
    assert optim.hypers_of(part("lbfgs")) == {}
    assert optim.rule_of(part("lbfgs")) is None


def test_demon_is_a_schedule_that_comes_with_its_optimizer() -> None:
    assert optim.default_schedules(part("demon_adam")) == {"momentum": "demon"}
    assert optim.default_schedules(part("demon_adam", beta1=0)) == {}
    assert optim.default_schedules(part("adam")) == {}
    assert optim.hyper_name(part("demon_adam"), "momentum") == "beta1"


def test_only_lbfgs_needs_a_closure() -> None:
    needing = {name for name in optim.BUILDERS if optim.needs_closure(optim.build(part(name), Network(), CPU))}
    assert needing == {"lbfgs"}


def test_nesterov_without_momentum_is_plain() -> None:
    optimizer = optim.build(part(momentum=0, nesterov=True), Network(), CPU)
    assert not optimizer.defaults["nesterov"]


def test_a_model_with_nothing_to_train_is_refused() -> None:
    with pytest.raises(RecipeError, match="nothing to train"):
        optim.build(part(), nn.Linear(2, 2).requires_grad_(False), CPU)


Register = Callable[[str, Callable[..., Any]], None]


@pytest.fixture
def register() -> Generator[Register]:
    before = dict(TABLES["optimizer"]), dict(optim.BUILDERS)
    yield optim.register
    for table, kept in zip((TABLES["optimizer"], optim.BUILDERS), before, strict=True):
        table.clear()
        table.update(kept)


class Signs(torch.optim.Optimizer):
    """Moves each weight by lr against the sign of its gradient."""

    def __init__(self, params: Any, lr: float) -> None:
        super().__init__(params, {"lr": lr})

    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.data.sub_(parameter.grad.sign(), alpha=group["lr"])


def signs(params: Any, lr: float = 0.25, twice: bool = False) -> torch.optim.Optimizer:
    return Signs(params, 2 * lr if twice else lr)


def test_a_users_optimizer_gets_its_keys_and_trains(register: Register) -> None:
    register("signs", signs)
    model = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.weight)
    optimizer = optim.build(part("signs", twice=True), model, CPU)
    model(torch.tensor([[1.0, -1.0]])).sum().backward()
    optimizer.step()
    assert model.weight.tolist() == [[-0.5, 0.5]]


def test_a_users_optimizer_has_multipliers_too(register: Register) -> None:
    register("signs", signs)
    model = nn.Sequential(nn.Linear(2, 1, bias=False), nn.Linear(1, 1, bias=False))
    before = [weight.detach().clone() for weight in model.parameters()]
    optimizer = optim.build(part("signs", lr=0.25, lr_multipliers="1=2"), model, CPU)
    model(torch.tensor([[1.0, -1.0]])).sum().backward()
    optimizer.step()
    moved = [(weight - old).abs().max().item() for weight, old in zip(model.parameters(), before, strict=True)]
    assert moved == pytest.approx([0.25, 0.5])
    assert optim.rule_of(part("signs")) is None


def test_a_users_optimizer_cannot_take_a_name_that_is_taken(register: Register) -> None:
    with pytest.raises(RecipeError, match="registered twice"):
        register("sgd", signs)


def test_a_key_that_a_users_factory_would_never_see_is_refused(register: Register) -> None:
    register("signs", signs)
    with pytest.raises(RecipeError, match=r"optimizer\.weight_decay = 0\.1: .*'signs' has no parameter weight_decay"):
        optim.build(part("signs", weight_decay=0.1), nn.Linear(2, 1), CPU)


def test_a_factory_that_returns_no_optimizer_is_refused(register: Register) -> None:
    def wrong(params: Any, lr: float = 0.1) -> Any:
        return signs

    register("wrong", wrong)
    with pytest.raises(RecipeError, match=r"'?wrong'?.*returned function: expected a torch\.optim\.Optimizer"):
        optim.build(part("wrong"), nn.Linear(2, 1), CPU)


def test_an_optimizer_that_needs_a_closure_is_refused(register: Register) -> None:
    def newton(params: Any, lr: float = 1.0) -> torch.optim.Optimizer:
        return torch.optim.LBFGS(params, lr=lr)

    register("newton", newton)
    with pytest.raises(RecipeError, match="LBFGS evaluates the loss several times"):
        optim.build(part("newton"), nn.Linear(2, 1), CPU)
