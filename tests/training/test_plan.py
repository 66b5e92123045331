"""The plan: repeated where it can be, and what differs is named."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict

import pytest
import torch

from shoal.training import Plan
from shoal.training.plan import decide, hardware

PLAN = Plan(engine="solo", execution="eager", device="cuda:0", threads=4, torch="2.10.0")


@pytest.fixture
def threads() -> Generator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_plan_does_not_differ_from_itself() -> None:
    assert PLAN.differences(asdict(PLAN)) == []
    assert PLAN.differences({}) == []


def test_what_differs_is_named() -> None:
    recorded = {**asdict(PLAN), "device": "cpu", "threads": 2, "something newer": 1}
    assert PLAN.differences(recorded) == ["device cpu -> cuda:0", "threads 2 -> 4"]


def test_a_recorded_number_of_threads_is_repeated(threads: None) -> None:
    plan = decide(torch.device("cpu"), execution="eager", recorded={"threads": 2})
    assert plan.threads == torch.get_num_threads() == 2


def test_without_a_record_it_is_what_the_machine_has(threads: None) -> None:
    plan = decide(torch.device("cpu"), execution="eager")
    assert asdict(plan) == {
        "engine": "solo",
        "execution": "eager",
        "device": "cpu",
        "threads": torch.get_num_threads(),
        "torch": str(torch.__version__),
        "width": 1,
        "channels_last": False,
        "hardware": hardware(torch.device("cpu")),
    }


def test_another_processor_is_another_plan() -> None:
    """Its kernels may add in another order, under the same name of a device."""
    plan = decide(torch.device("cpu"), execution="eager")
    assert plan.hardware
    recorded = {**asdict(plan), "hardware": "x86_64 AVX9000"}
    assert plan.differences(recorded) == [f"hardware x86_64 AVX9000 -> {plan.hardware}"]
