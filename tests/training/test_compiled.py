"""A recorded step compiled by inductor: the same steps to rounding, the same bits when resumed; or why not."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
import torch
from tests.contracts.engines import SMALL, ended, engine_of, loaded, position, saved, train
from tests.training.trainings import Training
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training import compiled as module
from shoal.training.compiled import NotCompilableError, compiled, no_compiler, without_factors

STEPS, CUT = 50, 21


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    no_compiler.cache_clear()
    yield
    no_compiler.cache_clear()


def test_without_a_compiler_it_is_said_in_one_sentence_and_runs_captured(nothing_installed: None) -> None:
    training = Training(execution="compiled")
    assert training.step.execution == "captured"
    assert training.said == [
        "the step is not compiled: there is no C++ compiler on this machine: install one, such as g++, to compile. "
        "It runs captured."
    ]


def test_what_the_compiler_says_is_one_clause(monkeypatch: pytest.MonkeyPatch) -> None:
    if no_compiler():
        pytest.skip("needs a C++ compiler")
    import torch._inductor

    def failing(*_: Any) -> None:
        raise RuntimeError("out of registers\nand a hundred lines more")

    monkeypatch.setattr(torch._inductor, "compile", failing)
    graph = make_fx(lambda x: x + 1)(torch.ones(2))
    with pytest.raises(NotCompilableError, match=r"^inductor failed \(RuntimeError: out of registers\)$"):
        compiled(graph, [torch.ones(2)])


def test_a_gpu_needs_no_compiler_for_the_cpu(nothing_installed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._inductor

    monkeypatch.setattr(torch._inductor, "compile", lambda graph, tensors: graph)
    on_meta = torch.ones(2, device="meta")
    assert compiled(make_fx(lambda x: x + 1)(on_meta), [on_meta])([on_meta]).shape == (2,)
    with pytest.raises(NotCompilableError, match="no C"):
        compiled(make_fx(lambda x: x + 1)(torch.ones(2)), [torch.ones(2)])


def test_inductor_draws_random_numbers_as_torch_does() -> None:
    assert module.OPTIONS == {"fallback_random": True}


SUMS: dict[str, Callable[..., Tensor]] = {
    "a product and more": lambda x, a, b: torch.add(torch.mm(a, b), x, alpha=0.5),
    "more and a product": lambda x, a, b: torch.add(x, torch.mm(a, b), alpha=0.5),
    "less": lambda x, a, b: torch.sub(torch.mm(a, b), x, alpha=0.5),
    "in place": lambda x, a, b: torch.mm(a, b).add_(x, alpha=0.5).sub_(x, alpha=2),
    "a linear map": lambda x, a, b: torch.addmm(x, a, b, alpha=0.5, beta=2.0).relu(),
    "without what it is added to": lambda x, a, b: torch.addmm(x / 0, a, b, alpha=0.5, beta=0.0).relu(),
    "several": lambda x, a, b: torch.baddbmm(x[None], a[None], b[None], alpha=0.5, beta=2.0).relu(),
    "a number": lambda x, a, b: torch.add(x, 2.0, alpha=3) + torch.sub(x, 2.0, alpha=0.5),
    "in a branch": lambda x, a, b: torch.cond(
        x.sum() > 0, lambda x, a, b: torch.addmm(x, a, b, beta=0.5), lambda x, a, b: x - torch.mm(a, b), (x, a, b)
    ),
}


@pytest.mark.parametrize("name", SUMS)
def test_the_factors_of_a_sum_are_written_as_products(name: str) -> None:
    given = [torch.rand(3, 4), torch.rand(3, 5), torch.rand(5, 4)]
    graph = make_fx(SUMS[name])(*given)
    before, after = graph.code, without_factors(graph)
    assert graph.code == before  # it is a copy
    torch.testing.assert_close(after(*given), SUMS[name](*given))
    inner = [module for module in after.modules() if isinstance(module, fx.GraphModule)]
    assert not any({"alpha", "beta"} & set(node.kwargs) for module in inner for node in module.graph.nodes)
    called = [node for module in inner for node in module.graph.nodes if node.op == "call_function"]
    assert all(node.all_input_nodes for node in called)  # a product of two numbers is a number


@pytest.mark.slow
def test_inductor_loses_no_factor() -> None:
    if missing := no_compiler():
        pytest.skip(missing)
    given = [torch.rand(3, 4), torch.rand(3, 5), torch.rand(5, 4)]

    def every(*tensors: Tensor) -> list[Tensor]:
        return [call(*tensors) for name, call in SUMS.items() if name != "in a branch"]

    for found, wanted in zip(compiled(make_fx(every)(*given), given)(given), every(*given), strict=True):
        torch.testing.assert_close(found, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [
        {},
        {"model": {"name": "mlp", "width": 12, "dropout": 0.3}, "optimizer": {"name": "adamw", "lr": 5e-3}},
        {"model": {"name": "mlp", "width": 1000}, "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9}},
    ],
    ids=["batch norm and SGD", "dropout and AdamW", "large, not joined"],
)
def test_a_compiled_step_is_the_eager_one_and_resumed_the_same_bits(keys: dict[str, Any]) -> None:
    if missing := no_compiler():
        pytest.skip(missing)
    recipe = {**SMALL, **keys}
    eager, work = engine_of(recipe, "eager")
    train(eager, work, STEPS)
    wanted = ended(eager)

    alone, work = engine_of(recipe, "compiled")
    train(alone, work, CUT)
    state = saved(alone)
    train(alone, work, STEPS - CUT, position(work, CUT))
    found = ended(alone)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        apart = float((found[name].double() - value.double()).norm())
        assert apart <= 1e-3 * float(value.double().norm()) + 1e-6, name
    assert alone.drain()[0] == pytest.approx(eager.drain()[0], rel=1e-3)

    again, work = engine_of(recipe, "compiled")
    again.load_state_dict(loaded(state))
    train(again, work, STEPS - CUT, position(work, CUT))
    again.drain()
    assert saved(again) == saved(alone)
