"""A recorded step compiled by inductor: the same steps to rounding, the same bits when resumed; or why not."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest
from tests.contracts.engines import SMALL, ended, engine_of, loaded, position, saved, train
from tests.training.trainings import Training
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.training import compiled as module
from shoal.training.compiled import NotCompilableError, compiled, no_compiler

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


@pytest.mark.slow
@pytest.mark.parametrize(
    "keys",
    [{}, {"model": {"name": "mlp", "width": 12, "dropout": 0.3}, "optimizer": {"name": "adamw", "lr": 5e-3}}],
    ids=["batch norm and SGD", "dropout and AdamW"],
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
