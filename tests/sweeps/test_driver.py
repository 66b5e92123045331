"""What points are, and stay, while workers die and data change, by real workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from shoal.assembly.identify import identify
from shoal.assembly.warm import Warm
from shoal.errors import ShoalError
from shoal.recipe.compose import compose
from shoal.sweeps import driver as module
from shoal.sweeps.driver import Driver, Order
from shoal.sweeps.points import Request
from shoal.sweeps.points import compose as composed
from shoal.sweeps.pool import Process

BASE = compose("digits_mlp", ["budget.steps=2", "execution=eager", "model.width=8"])
Meet = Callable[[Driver, Process, dict[str, Any]], None]


@pytest.fixture
def driver(tmp_path: Path) -> Generator[Driver]:
    made = Driver.start(Order(tmp_path / "runs", "tested", ["shoal", "sweep"], workers=2), print, at_once=2)
    yield made
    made.close()


def request_of(points: int) -> Request:
    return composed(BASE, [{"optimizer.lr": 0.01 * (1 + number)} for number in range(points)])


def meeting(driver: Driver, meet: Meet) -> None:
    """Let something happen where the driver hears a message."""
    events = driver.pool.events

    def told(seconds: float) -> Iterator[tuple[Process, dict[str, Any] | None]]:
        for process, message in events(seconds):
            if message is not None:
                meet(driver, process, message)
            yield process, message

    driver.pool.events = told  # pyright: ignore[reportAttributeAccessIssue]


def test_points_keep_their_identities_where_another_worker_dies_meanwhile(
    driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ASKED", 3)
    request, killed = request_of(12), list[int]()

    def kill_the_other(driver: Driver, process: Process, message: dict[str, Any]) -> None:
        others = [other.popen.pid for other in driver.pool.processes if other is not process]
        if "identified" in message and others and not killed:
            killed.extend(others)
            os.kill(others[0], signal.SIGKILL)
            next(other for other in driver.pool.processes if other is not process).popen.wait(10)

    meeting(driver, kill_the_other)
    found = driver.identified(request).sweep.points
    expected = identify([wanted.recipe for wanted in request.wanted], Warm(tmp_path))
    assert [point.signature for point in found] == [one.signature for one in expected]
    assert killed


def test_workers_that_die_whenever_they_look_at_points_are_given_up(driver: Driver) -> None:
    def kill(driver: Driver, process: Process, message: dict[str, Any]) -> None:
        del driver
        if "ready" in message:
            process.kill()
            process.popen.wait(10)

    meeting(driver, kill)
    with pytest.raises(ShoalError, match="workers end while they look at the points"):
        driver.identified(request_of(2))


def test_a_run_that_means_another_one_than_was_planned_is_not_trained(driver: Driver, tmp_path: Path) -> None:
    wanted = driver.identified(request_of(2))
    changed = replace(wanted.sweep.points[0], signature="0" * 32, run=f"digits_mlp-{'0' * 12}/seed-0")
    recipes = {**wanted.recipes, (changed.signature, 0): wanted.recipes[wanted.sweep.points[0].signature, 0]}
    sweep = replace(wanted.sweep, points=(changed, wanted.sweep.points[1]))
    wanted = replace(wanted, sweep=sweep, recipes=recipes)
    plan, found = driver.planned(wanted)
    board = driver.train(wanted, plan, found, lambda board, queue: None, begun=lambda: None)
    first, second = board.rows(driver.now)
    assert (first.status, second.status) == ("failed", "finished")
    assert first.reason == "its data or code changed since the sweep was planned: give the command again"
    assert len([*(tmp_path / "runs").glob("*/seed-*")]) == 1
