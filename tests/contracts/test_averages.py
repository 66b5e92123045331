"""Every way to average weights goes through the same checks: what it is in closed form, and that its forms agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from shoal.checkpoints import plain
from shoal.optim import Average, averaged

STEPS = 40
Tree = dict[str, Tensor]


@dataclass(frozen=True)
class Kind:
    """`share(n)` at the n-th weights (n = 0, 1, ...), and the part of each of them in the average after all."""

    share: Callable[[int], float]
    parts: Callable[[int], np.ndarray]


def _ema(decay: float) -> Kind:
    """w_0 taken over, then a = decay a + (1 - decay) w: decay^N of the first, (1 - decay) decay^(N - n) of others."""

    def parts(count: int) -> np.ndarray:
        powers = decay ** np.arange(count - 1, -1, -1.0)
        return powers * np.where(np.arange(count) == 0, 1.0, 1 - decay)

    return Kind(lambda n: 1 - decay if n else 1.0, parts)


def _warmed(count: int) -> np.ndarray:
    """Decays of (1 + n) / (10 + n), multiplied out."""
    decays = [(1 + n) / (10 + n) if n else 0.0 for n in range(count)]
    return np.array([(1 - decays[n]) * np.prod(decays[n + 1 :]) for n in range(count)])


KINDS = {
    "mean": Kind(lambda n: 1 / (n + 1), lambda count: np.full(count, 1 / count)),
    "ema 0.5": _ema(0.5),
    "ema 0.99": _ema(0.99),
    "ema warmed up": Kind(lambda n: 9 / (10 + n) if n else 1.0, _warmed),
    "last": Kind(lambda n: 1.0, lambda count: np.eye(count)[-1]),
    "first": Kind(lambda n: 0.0 if n else 1.0, lambda count: np.eye(count)[0]),
    "every third": Kind(
        lambda n: 0.0 if n % 3 else 1 / (n // 3 + 1),
        lambda count: np.where(np.arange(count) % 3 == 0, 1.0, 0.0) / len(range(0, count, 3)),
    ),
}
BOTH = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def weights(step: int) -> Tree:
    generator = torch.Generator().manual_seed(step)
    return {
        "matrix": torch.randn(5, 3, generator=generator),
        "kernel": torch.randn(2, 3, 3, 3, generator=generator).to(memory_format=torch.channels_last),
        "scalar": torch.randn((), generator=generator),
        "double": torch.randn(4, generator=generator, dtype=torch.float64),
        "count": torch.tensor(step),
    }


def identical(found: Tree, expected: Tree) -> bool:
    return list(found) == list(expected) and all(torch.equal(found[name], expected[name]) for name in found)


def after(kind: Kind, count: int, *, tensor: bool = False) -> Average:
    average = Average({name: torch.full_like(value, 7) for name, value in weights(0).items()})
    for n in range(count):
        share = kind.share(n)
        average.update(weights(n), torch.tensor(share, dtype=torch.float64) if tensor else share)
    return average


@BOTH
def test_it_is_its_closed_form(kind: Kind) -> None:
    found = after(kind, STEPS).weights()
    parts = kind.parts(STEPS)
    assert parts.sum() == pytest.approx(1.0)
    for name in ("matrix", "kernel", "scalar", "double"):
        expected = sum(part * weights(n)[name].double().numpy() for n, part in enumerate(parts))
        np.testing.assert_allclose(found[name].double().numpy(), expected, atol=2e-6, err_msg=name)
    taken = max(n for n in range(STEPS) if kind.share(n))
    assert found["count"].item() == taken, "an integer is that of the last weights that had a share"


@BOTH
@pytest.mark.parametrize("tensor", [False, True], ids=["numbers", "tensors"])
def test_a_saved_average_goes_on_bit_for_bit(kind: Kind, tensor: bool) -> None:
    whole, half = after(kind, STEPS, tensor=tensor), after(kind, STEPS // 2, tensor=tensor)
    resumed = Average({name: torch.zeros_like(value) for name, value in weights(0).items()})
    resumed.load_state_dict(plain(half.state_dict()))
    for n in range(STEPS // 2, STEPS):
        share = kind.share(n)
        resumed.update(weights(n), torch.tensor(share, dtype=torch.float64) if tensor else share)
    assert identical(resumed.weights(), whole.weights())


@BOTH
def test_the_pure_form_is_the_one_in_place_and_leaves_its_arguments(kind: Kind) -> None:
    average = after(kind, 1)
    pure = {name: value.clone() for name, value in average.weights().items()}
    for n in range(1, STEPS):
        before = {name: value.clone() for name, value in pure.items()}
        given, share = weights(n), kind.share(n)
        new = averaged(pure, given, share)
        assert identical(pure, before)
        assert identical(given, weights(n))
        assert not any(new[name] is pure[name] or new[name] is given[name] for name in new)
        pure = new
        average.update(given, share)
        assert identical(pure, average.weights())


@BOTH
def test_a_recorded_one_replays_as_numbers_do(kind: Kind) -> None:
    recorded = make_fx(averaged)(weights(1), weights(2), torch.tensor(0.5))

    def update(average: Tree, new: Tree, share: Tensor) -> None:
        Average.over(average).update(new, share)

    in_place = make_fx(update)(weights(1), weights(2), torch.tensor(0.5))
    pure, held = weights(100), weights(100)
    average = Average(weights(100))
    for n in range(STEPS):
        share = kind.share(n)
        pure = recorded(pure, weights(n), torch.tensor(share))
        in_place(held, weights(n), torch.tensor(share))
        average.update(weights(n), share)
        assert identical(pure, held)
        for name, value in average.weights().items():  # a tensor's share has float32's digits, a number's float64's
            torch.testing.assert_close(pure[name], value, rtol=1e-6, atol=1e-6, msg=name)


@pytest.mark.parametrize("make", [float, torch.tensor], ids=["number", "tensor"])
def test_shares_of_one_and_zero_are_exact(make: Callable[[float], float | Tensor]) -> None:
    old, new = weights(1), {name: value * 1e6 for name, value in weights(2).items()}
    average = Average(old)
    average.update(new, make(0.0))
    assert identical(average.weights(), old)
    assert identical(averaged(old, new, make(0.0)), old)
    average.update(new, make(1.0))
    assert identical(average.weights(), new)
    assert identical(averaged(old, new, make(1.0)), new)


def test_as_numbers_they_keep_the_sign_of_zero_and_ignore_what_is_not_finite() -> None:
    old, new = {"x": torch.tensor([-0.0, 1.0])}, {"x": torch.tensor([float("nan"), -0.0])}
    average = Average(old)
    average.update(new, 0.0)
    assert average.weights()["x"].view(torch.int32).tolist() == old["x"].view(torch.int32).tolist()
    average.update(new, 1.0)
    assert average.weights()["x"].view(torch.int32).tolist() == new["x"].view(torch.int32).tolist()
