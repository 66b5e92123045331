"""Addresses: frozen, distinct, well spread; and global generators that are given back."""

from __future__ import annotations

import os
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal import rng
from shoal.checkpoints import plain

GOLDEN_KEYS = {
    (0, "order", 0): 3471081512423777433,
    (0, "order", 1): 8024286156118006313,
    (1, "order", 0): 1209403590507862004,
    (0, "weights"): 7388263408636359099,
    (2**62, "example", 3, 1234): 7927389271864528237,
}
"""Frozen: other values would change the order, weights and masks of every run that is to be resumed or repeated."""

GOLDEN_STEPS = {0: 6458897471972076502, 1: 4943388429134722419, 2: 3971859568681936965, 10**9: 6262450678173349109}


def draws() -> list[float]:
    return [random.random(), np.random.random(), torch.rand(()).item()]


@pytest.mark.parametrize("address", GOLDEN_KEYS)
def test_keys_are_frozen(address: tuple[int, str]) -> None:
    assert rng.key(*address) == GOLDEN_KEYS[address]


def test_step_seeds_are_frozen() -> None:
    seeds = rng.StepSeeds(0)
    assert {step: seeds.at(step) for step in GOLDEN_STEPS} == GOLDEN_STEPS


def test_an_order_is_the_same_in_another_process() -> None:
    here = torch.randperm(50, generator=rng.generator(7, "order", 3)).tolist()
    script = (
        "import torch; from shoal import rng;print(torch.randperm(50, generator=rng.generator(7, 'order', 3)).tolist())"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "12345"}
    there = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True)
    assert there.stdout.strip() == str(here)


address = st.tuples(
    st.integers(0, 2**63 - 1), st.sampled_from(["order", "weights", "example", "step"]), st.integers(0, 10**6)
)


@given(address, address)
def test_other_addresses_have_other_keys(first: tuple[int, str, int], second: tuple[int, str, int]) -> None:
    assert (rng.key(*first) == rng.key(*second)) == (first == second)
    assert 0 <= rng.key(*first) < 2**63


def test_an_address_is_not_its_digits() -> None:
    assert (
        len({rng.key(1, "order", 11), rng.key(1, "order", 1, 1), rng.key(11, "order", 1), rng.key(1, "order1", 1)}) == 4
    )


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_the_low_32_bits_of_step_seeds_are_spread(seed: int) -> None:
    """torch's CPU generator sees no others. Each bit is set in half of the steps, and next to none occur twice."""
    seeds = rng.StepSeeds(seed)
    low = np.array([seeds.at(step) for step in range(20_000)], dtype=np.uint64) & np.uint64(0xFFFFFFFF)
    shares = [float((low >> np.uint64(bit) & np.uint64(1)).mean()) for bit in range(32)]
    assert min(shares) > 0.48
    assert max(shares) < 0.52
    assert len(np.unique(low)) >= len(low) - 2  # 0.05 pairs are expected of 20,000 draws from 2**32
    flips = np.bitwise_count(low[1:] ^ low[:-1]) if hasattr(np, "bitwise_count") else None
    assert flips is None or 15.8 < flips.mean() < 16.2  # neighbours have half of their bits in common


def test_step_seeds_of_other_seeds_and_purposes_differ() -> None:
    sets = [
        {rng.StepSeeds(seed, purpose).at(step) for step in range(500)} for seed in (0, 1) for purpose in ("step", "x")
    ]
    assert len(set.union(*sets)) == 4 * 500


def test_a_generator_stands_at_its_start_whatever_was_drawn_before() -> None:
    first = rng.generator(3, "order", 0)
    values = torch.rand(5, generator=first)
    torch.rand(100)
    assert torch.equal(torch.rand(5, generator=rng.generator(3, "order", 0)), values)


@pytest.mark.parametrize("fails", [False, True])
def test_the_callers_generators_are_given_back(fails: bool) -> None:
    rng.seed_all(11)
    expected = draws()
    rng.seed_all(11)
    try:
        with rng.preserved():
            rng.seed_all(5)
            inside = draws()
            if fails:
                raise KeyboardInterrupt
    except KeyboardInterrupt:
        pass
    assert draws() == expected != inside


@given(st.integers(0, 2**63 - 1))
def test_seed_all_seeds_all(seed: int) -> None:
    with rng.preserved():
        rng.seed_all(seed)
        first = draws()
        rng.seed_all(seed)
        assert draws() == first


def test_seed_all_gives_the_stream_of_torchs_manual_seed() -> None:
    with rng.preserved():
        rng.seed_all(12345)
        seeded = torch.rand(3)
        torch.manual_seed(12345)
        assert torch.equal(torch.rand(3), seeded)


def test_captured_generators_go_on_where_they_were_after_a_checkpoint() -> None:
    with rng.preserved():
        rng.seed_all(3)
        random.gauss(0, 1), np.random.randn()  # each leaves the second of a pair behind
        state = plain(rng.captured())
        expected = [random.gauss(0, 1), random.random(), np.random.randn(), np.random.random()]
        rng.seed_all(4)
        rng.restore(state)
        assert [random.gauss(0, 1), random.random(), np.random.randn(), np.random.random()] == expected


def test_a_snapshot_may_be_put_back_more_than_once() -> None:
    back = rng.snapshot()
    first = draws()
    for _ in range(2):
        back()
        assert draws() == first
    assert draws() != first
