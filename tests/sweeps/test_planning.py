from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shoal.errors import InputError
from shoal.store import RunFolder, Summary
from shoal.store.sweeps import Point, Sweep
from shoal.sweeps.planning import CONTINUE, FAILED, KEEP, LEFT, RETRY, RUNNING, START, Choice, Identity, plan

RATES = (0.1, 0.2, 0.3, 0.4, 0.5)
POINTS = tuple(Point(f"a-{at}/seed-0", f"{at:032x}", 0, {"optimizer.lr": lr}) for at, lr in enumerate(RATES))
SWEEP = Sweep("a", keys=("optimizer.lr",), points=POINTS)


def found(**statuses: Any) -> dict[Identity, Summary]:
    """What is there of the points: `p2="failed"`."""
    known = {}
    for name, status in statuses.items():
        point = POINTS[int(name[1:])]
        steps = 100 if status == "finished" else 40
        summary = Summary(
            RunFolder(Path(point.run)), point.run, "a", point.signature, 0, status,
            steps=steps, total_steps=100, seconds=2.0,
        )  # fmt: skip
        known[point.signature, 0] = summary
    return known


def doing(choice: Choice | None = None, **statuses: Any) -> list[str]:
    return [each.doing for each in plan(SWEEP, found(**statuses), choice or Choice(), {}).planned]


def test_only_what_is_missing_is_done() -> None:
    known = {"p0": "finished", "p1": "failed", "p2": "stopped", "p3": "running"}
    assert doing(**known) == [KEEP, FAILED, CONTINUE, RUNNING, START]
    assert doing(p0="killed", p1="queued") == [CONTINUE, CONTINUE, START, START, START]


def test_what_failed_is_tried_again_where_that_is_asked_for() -> None:
    assert doing(Choice(retry=True), p1="failed") == [START, RETRY, START, START, START]


def test_again_is_for_all_but_what_is_live() -> None:
    assert doing(Choice(again=True), p0="finished", p1="failed", p2="running") == [START, START, RUNNING, START, START]


@pytest.mark.parametrize(
    ("choice", "chosen"),
    [
        (Choice(only=["lr=0.2"]), [1]),
        (Choice(only=["lr=0.[23]*"]), [1, 2]),
        (Choice(only=["!lr=0.2"]), [0, 2, 3, 4]),
        (Choice(only=["lr=*", "!lr=0.5", "!lr=0.4"]), [0, 1, 2]),
        (Choice(statuses=["stopped"]), [2]),
        (Choice(statuses=["stopped", "queued"]), [1, 2, 3, 4]),
        (Choice(only=["lr=0.3"], statuses=["stopped"]), [2]),
        (Choice(only=["seed=0", "lr=0.5"]), [4]),
    ],
)
def test_points_are_chosen_by_pattern_and_status(choice: Choice, chosen: list[int]) -> None:
    planned = plan(SWEEP, found(p0="stopped" if not choice.statuses else "finished", p2="stopped"), choice, {}).planned
    assert [at for at, each in enumerate(planned) if each.doing not in (LEFT, KEEP)] == chosen


def test_a_pattern_means_whole_values() -> None:
    points = tuple(Point(f"a-{seed}/seed-{seed}", "0" * 32, seed, {"optimizer.lr": 0.1}) for seed in (1, 10, 11))
    made = plan(Sweep("a", keys=("optimizer.lr",), points=points), {}, Choice(only=["seed=1"]), {})
    assert [each.doing for each in made.planned] == [START, LEFT, LEFT]


def test_a_choice_that_means_nothing_is_told() -> None:
    with pytest.raises(InputError, match=r"'lr=7' fits none of the 5 points, such as 'lr=0.1 seed=0'"):
        doing(Choice(only=["lr=7"]))
    with pytest.raises(InputError, match="unknown status 'fialed': did you mean 'failed'"):
        doing(Choice(statuses=["fialed"]))


def test_the_plan_is_told_in_numbers_and_the_time_by_what_was_measured() -> None:
    stale = {(POINTS[4].signature, 0): "the data changed since a-9/seed-0: this is another run."}
    unlisted = Point("a-9/seed-0", "9" * 32, 0, {"optimizer.lr": 9.0}, listed=False)
    sweep = Sweep("a", keys=SWEEP.keys, points=(*POINTS, unlisted))
    known = found(p0="finished", p1="stopped", p2="failed")
    made = plan(sweep, known, Choice(), stale)
    assert made.seconds == pytest.approx(2 * 2.0 + 60 * 2.0 / 100)
    assert [line.strip() for line in made.lines(workers=2)] == [
        "2  to start",
        "1  to continue from a checkpoint",
        "1  finished, kept as they are",
        "1  failed, left as they are: --retry tries them again",
        "1  stale: a run that looks the same is there (the data changed since a-9/seed-0: this is another run)",
        "1  no longer listed: their runs stay as they are",
        "With 2 workers it takes about 2.6 s, at the rate of its finished runs.",
    ]


def test_nothing_is_left() -> None:
    known = dict.fromkeys(["p0", "p1", "p2", "p3", "p4"], "finished")
    made = plan(SWEEP, found(**known), Choice(), {})
    assert made.lines(workers=2)[-1] == "Nothing is left to train."
    assert made.todo == []
