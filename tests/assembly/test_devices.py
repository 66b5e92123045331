"""Devices that are there, and those that are not."""

from __future__ import annotations

import pytest
import torch

from shoal.assembly.devices import choose, determinism
from shoal.errors import RecipeError


def test_the_cpu_is_always_there() -> None:
    assert choose("cpu") == torch.device("cpu")


def test_auto_takes_what_there_is() -> None:
    assert choose("auto").type in ("cpu", "cuda", "mps")


def test_a_name_that_is_none_gets_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"device = 'cdua'.*did you mean 'cuda'"):
        choose("cdua")


@pytest.mark.parametrize("name", ["cuda:99", "cpu:1"])
def test_a_device_that_is_not_there_is_refused_with_those_that_are(name: str) -> None:
    with pytest.raises(RecipeError, match=f"device = '{name}': this machine has cpu"):
        choose(name)


def test_determinism_is_given_back() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with determinism(True):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before
    with determinism(False):
        assert torch.are_deterministic_algorithms_enabled() == before
