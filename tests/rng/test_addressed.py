"""Numbers with an address: frozen, uniform, unrelated to their neighbours, the same in whatever batch they stand."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from shoal import rng

GOLDEN = {
    (0, 0): [8388608, 6977182, 15914846],
    (0, 1): [15161208, 2488195, 2967187],
    (1, 0): [8275824, 12944524, 5627128],
    (2**53 - 1, 2**40): [9186058, 2183903, 15525595],
    (8710006498604705, 59_999): [3829169, 10230610, 1792063],
}
"""(key, index) and the draws in units of 2**-24. Frozen: other values would change what augmentation does to runs."""
COUNT = 60_000


def draws(key: Tensor | int, *, first: int = 0, count: int = COUNT, of_each: int = 4) -> Tensor:
    return rng.uniform(key, torch.arange(first, first + count), of_each)


@pytest.mark.parametrize("address", GOLDEN)
def test_numbers_are_frozen(address: tuple[int, int]) -> None:
    key, index = address
    found = rng.uniform(key, torch.tensor([index]), 3)
    assert found.dtype == torch.float32
    assert (found[0] * 2**24).tolist() == GOLDEN[address]


def test_keys_of_53_bits_are_frozen_and_exact_in_float64() -> None:
    assert rng.key53(0, "augment", 0) == 8710006498604705
    assert rng.key53(2**62, "augment", 3) == 373239247202661
    assert all(int(float(key)) == key < 2**53 for key in (rng.key53(seed, "augment", 1) for seed in range(1000)))


@given(st.integers(0, 2**53 - 1))
def test_a_key_means_the_same_as_int_int64_and_float64(key: int) -> None:
    index = torch.tensor([3, 0, 2**62])
    found = rng.uniform(key, index, 2)
    assert torch.equal(found, rng.uniform(torch.tensor(key), index, 2))
    assert torch.equal(found, rng.uniform(torch.tensor(float(key), dtype=torch.float64), index, 2))


@pytest.mark.parametrize("key", [0, 1, 2**53 - 1])
def test_numbers_are_uniform(key: int) -> None:
    """Kolmogorov and Smirnov: sqrt(n) D lies above 1.95 once in a thousand times."""
    found = draws(key)
    assert found.min() >= 0
    assert found.max() < 1
    steps = torch.arange(1, COUNT + 1, dtype=torch.float64) / COUNT
    for number in range(4):
        distance = (found[:, number].double().sort().values - steps).abs().max()
        assert float(distance) * math.sqrt(COUNT) < 1.95


def excess(first: Tensor, second: Tensor) -> float:
    """Chi square of pairs over 32 x 32 squares, in deviations from its mean."""
    counts = torch.bincount((first * 32).long() * 32 + (second * 32).long(), minlength=1024).double()
    expected = len(first) / 1024
    return (float((counts - expected).square().sum() / expected) - 1023) / math.sqrt(2 * 1023)


def test_neighbouring_examples_draws_and_keys_have_nothing_to_do_with_each_other() -> None:
    found = draws(12345)
    pairs = {"next example": (found[:-1], found[1:]), "next draw": (found[:, :-1], found[:, 1:])}
    others = {1: 12346, 2: 12345 ^ (1 << 52), 3: 12345 + (1 << 32)}
    pairs |= {f"key {other}": (found, draws(other)) for other in others.values()}
    for what, (first, second) in pairs.items():
        for number in range(first.shape[1]):
            assert abs(excess(first[:, number], second[:, number])) < 4.5, (what, number)
            both = torch.corrcoef(torch.stack((first[:, number], second[:, number])).double())
            assert abs(float(both[0, 1])) * math.sqrt(len(first)) < 4.5, (what, number)


@pytest.mark.parametrize("what", ["index", "key", "draw"])
def test_each_bit_of_an_address_turns_half_of_the_bits_drawn(what: str) -> None:
    index, key = torch.arange(4_000), 987654321
    bits = {"index": 40, "key": 53, "draw": 6}[what]
    before = rng.uniform(key, index, 64 if what == "draw" else 4)
    for bit in range(bits):
        if what == "draw":
            after = before[:, torch.arange(64) ^ (1 << bit)]
        else:
            other = key ^ (1 << bit) if what == "key" else key
            after = rng.uniform(other, index ^ (1 << bit) if what == "index" else index, 4)
        turned = (before * 2**24).long() ^ (after * 2**24).long()
        shares = torch.stack([(turned >> place & 1).float().mean() for place in range(24)])
        assert (shares - 0.5).abs().max() < 0.025, bit  # deviation 0.004, and 0.0056 for neighbours in pairs


def test_other_addresses_draw_other_numbers() -> None:
    words = draws(3, count=2000, of_each=4)
    pairs = {tuple(pair) for pair in words.view(-1, 2).tolist()}
    assert len(pairs) == 4000


def test_a_number_does_not_depend_on_what_is_drawn_beside_it() -> None:
    index = torch.randperm(1000)
    whole = draws(7, count=1000)
    assert torch.equal(rng.uniform(7, index, 4), whole[index])
    assert torch.equal(rng.uniform(7, index[:5], 2), whole[index[:5], :2])
    assert torch.equal(rng.uniform(7, index[5:6], 1), whole[index[5:6], :1])


def test_a_recorded_graph_draws_for_other_keys_and_examples_too() -> None:
    graph = make_fx(lambda key, index: rng.uniform(key, index, 4))(torch.tensor(1.0).double(), torch.arange(8))
    key, index = torch.tensor(2.0**52).double(), torch.arange(8) * 1000
    assert torch.equal(graph(key, index), rng.uniform(key, index, 4))
    assert len([node for node in graph.graph.nodes if node.op == "call_function"]) <= 17  # paid at each step


def test_runs_of_a_stack_draw_what_each_would_alone() -> None:
    keys, index = torch.tensor([1, 5, 2**53 - 1]), torch.arange(6)
    stacked = torch.func.vmap(lambda key: rng.uniform(key, index, 3))(keys)
    assert torch.equal(stacked, torch.stack([rng.uniform(key, index, 3) for key in keys]))
