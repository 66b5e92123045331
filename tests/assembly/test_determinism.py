"""Deterministic mode: operations without a deterministic algorithm raise, and the caller's settings come back."""

from __future__ import annotations

import pytest
import torch

from shoal.assembly.devices import determinism


def nondeterministic() -> torch.Tensor:
    """An operation that has no deterministic algorithm on any device."""
    return torch.zeros(3).put_(torch.tensor([0, 0]), torch.tensor([1.0, 2.0]))


def settings() -> tuple[bool, bool, bool]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        torch.backends.cudnn.benchmark,
    )


def test_an_operation_that_has_no_deterministic_algorithm_raises() -> None:
    with determinism(True), pytest.raises(RuntimeError, match="does not have a deterministic implementation"):
        nondeterministic()
    nondeterministic()


def test_where_it_is_not_wanted_nothing_changes() -> None:
    before = settings()
    with determinism(False):
        nondeterministic()
        assert settings() == before


def test_the_callers_settings_come_back_even_after_an_error() -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True
    before = settings()

    def fail() -> None:
        with determinism(True):
            assert settings() == (True, False, False)
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            fail()
        assert settings() == before == (True, True, True)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.backends.cudnn.benchmark = False
