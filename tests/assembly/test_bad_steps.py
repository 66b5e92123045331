"""A step that is bad by its examples: they are named, and stop, skip and rewind keep what they promise of a run."""

from __future__ import annotations

import functools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.faults.chaos import result
from tests.faults.endings import cut_before, done, kill_now
from torch import Tensor, nn

import shoal
from shoal.assembly import decisions
from shoal.checkpoints import load, newest
from shoal.datasets.batches import Layout
from shoal.errors import NonFiniteError
from shoal.store import RunFolder

SIZE, TOTAL, MARKED = 8, 64, 34
PER_EPOCH = TOTAL // SIZE
KEYS: dict[str, Any] = {
    "batch_size": SIZE, "budget.epochs": 1, "checkpoint.every": 1 / PER_EPOCH, "execution": "eager", "log.every": 2,
    "dataset.normalise": False, "schedules.lr": "constant", "optimizer.lr": 0.1, "optimizer": "sgd",
}  # fmt: skip
KINDS = ["nan", "inf", "gradient"]


def data() -> dict[str, Any]:
    """Points to tell apart; one of train is marked by its first number, which is 0 in all others."""
    x = np.random.default_rng(0).normal(size=(2 * TOTAL, 5)).astype("f4")
    y = (x[:, 1] > 0).astype(int)
    x[:, 0], x[MARKED, 0], y[MARKED] = 0, 1, 1
    return {"train": (x[:TOTAL], y[:TOTAL]), "valid": (x[TOTAL:], y[TOTAL:])}


class Poisoned(nn.Module):
    """A linear layer whose loss, or whose gradient alone, is not finite on the marked example."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int, kind: str = "nan") -> None:
        super().__init__()
        self.kind = kind
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        marked, outputs = x[:, :1] > 0.5, self.layer(x)
        if self.kind == "nan":
            return torch.where(marked, math.nan, outputs)
        if self.kind == "inf":  # of its class, which is 1
            return torch.where(marked, torch.tensor([0.0, -math.inf]), outputs)
        zero = outputs.sum(1, keepdim=True) * 0.0
        return outputs + torch.where(marked, zero, 1.0).sqrt() - torch.where(marked, 0.0, 1.0)


def train(runs: Path, kind: str = "nan", **keys: Any) -> shoal.Run:
    words = {**KEYS, **{key.replace("__", "."): value for key, value in keys.items()}}
    return shoal.train({}, words, model=functools.partial(Poisoned, kind=kind), dataset=data(), runs=runs, quiet=True)


def only(runs: Path) -> shoal.Run:
    (run,) = shoal.runs(runs)
    return run


def parameters(run: shoal.Run) -> dict[str, Tensor]:
    loaded = newest(RunFolder(run.folder).checkpoints)
    assert loaded is not None
    return loaded.states["engine"]["parameters"]


def same(first: shoal.Run, second: shoal.Run) -> bool:
    return all(torch.equal(value, parameters(second)[name]) for name, value in parameters(first).items())


def batch_of(row: int, epoch: int = 0) -> tuple[int, list[int]]:
    """The batch of an epoch, from 0, that holds an example, and all its examples."""
    order = Layout(TOTAL, SIZE, 0, True, True, False).order(epoch).tolist()
    batch = order.index(row) // SIZE
    return batch, order[batch * SIZE : (batch + 1) * SIZE]


BATCH, ROWS = batch_of(MARKED)
STEP = BATCH + 1
ON = f"batch {STEP} of epoch 1: examples {', '.join(map(str, ROWS[:5]))} and 3 more of train"
ALL = "names all 8)."
NAMED = {"epoch": 1, "batch": STEP, "examples": ROWS, "of": "train", "more": 0}


@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_stop_names_the_examples_keeps_the_weights_and_fails_alike_again(
    tmp_path: Path, kind: str, accumulate: int
) -> None:
    what = f"the gradient at step {STEP} is not finite, although the loss is" if kind == "gradient" else (
        f"the loss at step {STEP} is not finite")  # fmt: skip
    messages: list[str] = []
    states: list[bytes] = []
    for attempt in (1, 2):
        with pytest.raises(NonFiniteError) as raised:
            train(tmp_path / "bad", kind, accumulate=accumulate)
        messages.append(str(raised.value))
        run = only(tmp_path / "bad")
        assert (run.status, run.record["attempts"]) == ("failed", attempt)
        assert run.record["bad_step"] == {"step": STEP, "cause": what, **NAMED}
        last = max((run.folder / "checkpoints").glob("step-*"))
        states.append((last / "engine.pt").read_bytes())
        assert last.name == f"step-{STEP - 1:08}"
        assert all(value.isfinite().all() for value in parameters(run).values())
    assert messages[0] == messages[1]
    assert messages[0].startswith(
        f"{what}; its update was not made. It was on {ON} (bad_step in run.json {ALL} Usually the learning rate"
    )
    assert states[0] == states[1]
    before = train(tmp_path / "before", kind, accumulate=accumulate, budget__epochs=(STEP - 1) / PER_EPOCH)
    assert same(run, before)


def test_more_skips_in_a_row_than_the_limit_are_told_where_they_end_the_run(tmp_path: Path) -> None:
    keys = {"optimizer.name": "sgd", "optimizer.lr": 1e30, "guard.action": "skip", "guard.limit": 2}
    told = r"\d+ updates were left out until that was seen: more in a row than guard\.limit\."
    with pytest.raises(NonFiniteError, match=told):
        shoal.train("digits_mlp", {**keys, "budget.epochs": 1}, runs=tmp_path, quiet=True)


def test_a_valid_loss_that_is_no_number_is_said_once(tmp_path: Path) -> None:
    splits = data()
    swapped = {"train": splits["valid"], "valid": splits["train"]}  # the marked example is one of valid
    keys = {**KEYS, "evaluate.every": 2 / PER_EPOCH}
    run = shoal.train({}, keys, model=Poisoned, dataset=swapped, runs=tmp_path, quiet=True)
    assert run.status == "finished"
    assert [row["valid.loss"] for row in run.history if "valid.loss" in row] == [None] * 4
    assert (run.folder / "train.log").read_text().count("valid.loss is nan at step 2: what the model makes of") == 1
    assert (run.folder / "train.log").read_text().count("is no number") == 1


@pytest.mark.parametrize("execution", ["eager", "captured"])
@pytest.mark.parametrize("kind", KINDS)
def test_skip_leaves_out_one_update_and_says_which(tmp_path: Path, kind: str, execution: str) -> None:
    run = train(tmp_path, kind, guard__action="skip", guard__spike=50, execution=execution)
    assert run.record["plan"]["execution"] == execution
    assert run.record["skipped_steps"] == {"count": 1, "last": {"step": STEP, **NAMED}}
    log = (run.folder / "train.log").read_text()
    told = f"1 update left out so far (guard.action=skip), the last at step {STEP}, on {ON} (skipped_steps in run.json"
    assert log.count(f"{told} {ALL} Look at") == 1
    assert f"1 of {PER_EPOCH} updates were left out (guard.action=skip), the last at step {STEP}" in log
    shares = {row["step"]: row.get("train.skipped", 0) for row in run.history}
    assert {step for step, share in shares.items() if share} == {STEP + STEP % 2}
    guard = load(max((run.folder / "checkpoints").glob("step-*"))).states["engine"]["guard"]
    assert guard["skipped"] == 1
    assert guard["seen"] == PER_EPOCH - 1
    assert all(value.isfinite() for value in guard.values())
    assert all(math.isfinite(value) for row in run.history for value in row.values())


@pytest.mark.parametrize("at", [STEP - 1, STEP, STEP + 1])
def test_a_run_that_skips_resumes_to_the_same_bits(tmp_path: Path, at: int) -> None:
    keys = {"guard__action": "skip", "guard__spike": 50, "budget__epochs": 2}
    whole = train(tmp_path / "whole", **keys)
    with cut_before(at):
        train(tmp_path / "cut", **keys)
    again = train(tmp_path / "cut", **keys)
    assert result(tmp_path / "cut") == result(tmp_path / "whole")
    assert again.record["skipped_steps"] == whole.record["skipped_steps"]
    assert whole.record["skipped_steps"]["count"] == 2


LEAP, FACTOR = 24, 2.0**-5
"""The step, from 0, whose batch is scaled by 100; what a rewind multiplies the learning rate by."""
LEAPING: dict[str, Any] = {
    **KEYS, "optimizer.lr": 2.0, "optimizer.momentum": 0, "log.every": 1, "checkpoint.every": 0.1,
    "guard.action": "rewind", "guard.spike": 30, "guard.rewind_every": 1, "guard.rewind_lr": FACTOR,
}  # fmt: skip


class Zeroed(nn.Module):
    """A linear layer that starts from 0."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs, bias=False)
        nn.init.zeros_(self.layer.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def leaping_data() -> tuple[dict[str, Any], list[int]]:
    """Two features that go together, and one batch of train scaled by 100: what it says is so while weights are small.

    The labels are those of a - b / 2. At first both weights grow, since a and b go together; the second one changes
    its sign once the first is learned. The scaled batch is of points where b is all: its labels are those of +b.
    """
    random = np.random.default_rng(0)
    a = random.normal(size=(300, 1))
    x = np.concatenate([a, 0.8 * a + 0.6 * random.normal(size=(300, 1))], axis=1).astype("f4")
    y = (x[:, 0] - x[:, 1] / 2 > 0).astype(int)
    rows = Layout(240, SIZE, 0, True, True, False).order(0)[LEAP * SIZE : (LEAP + 1) * SIZE].tolist()
    x[rows, 0], x[rows, 1] = 0, np.where(np.arange(SIZE) % 2, 1, -1)
    y[rows] = x[rows, 1] > 0
    x[rows] *= 100
    return {"train": (x[:240], y[:240]), "valid": (x[240:], y[240:])}, rows


def leap(runs: Path, **keys: Any) -> shoal.Run:
    words = {**LEAPING, **{key.replace("__", "."): value for key, value in keys.items()}}
    return shoal.train({}, words, model=Zeroed, dataset=leaping_data()[0], runs=runs, quiet=True)


def test_a_loss_that_leaps_is_found_in_its_step_and_the_rest_is_that_of_the_smaller_learning_rate(
    tmp_path: Path,
) -> None:
    run, rows = leap(tmp_path / "leaping"), leaping_data()[1]
    (decision,) = run.record["guard"]
    assert decision["cause"] == f"the loss at step {LEAP + 1} is far above its recent mean (guard.spike)"
    assert (decision["step"], decision["to"], decision["lr"]) == (LEAP + 1, 0, FACTOR)
    assert decision["batch"] == {"epoch": 1, "batch": LEAP + 1, "examples": rows, "of": "train", "more": 0}
    told = f"(guard.action=rewind). It was on batch {LEAP + 1} of epoch 1: examples {rows[0]}, {rows[1]}, "
    assert told in (run.folder / "train.log").read_text()
    smaller = leap(tmp_path / "smaller", optimizer__lr=LEAPING["optimizer.lr"] * FACTOR)
    assert "guard" not in smaller.record
    assert same(run, smaller)
    assert (run.folder / "history.jsonl").read_bytes() == (smaller.folder / "history.jsonl").read_bytes()


def test_the_first_step_that_leaps_is_the_last_whose_update_could_have_been_made(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError, match=rf"^the loss at step {LEAP + 1} is far above its recent mean"):
        leap(tmp_path / "stop", guard__action="stop", guard__rewind_every=None, guard__rewind_lr=0.5, guard__limit=5)
    assert only(tmp_path / "stop").record["bad_step"]["step"] == LEAP + 1


def test_a_run_killed_right_after_a_decision_ends_with_the_same_bits(tmp_path: Path) -> None:
    """The checkpoints of the course that was left are still there."""
    leap(tmp_path / "whole")

    def killed() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decisions.Decision, "said", property(lambda _: kill_now()))
            leap(tmp_path / "cut")

    assert done(killed) == -9
    run = only(tmp_path / "cut")
    assert (run.status, len(run.record["guard"])) == ("killed", 1)
    left = [int(path.name.removeprefix("step-")) for path in (run.folder / "checkpoints").glob("step-????????")]
    assert max(left) > 0
    leap(tmp_path / "cut")
    assert result(tmp_path / "cut") == result(tmp_path / "whole")


def test_a_fresh_run_that_follows_the_decision_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole = leap(tmp_path / "whole")
    folder = tmp_path / "fresh" / whole.folder.parent.name / whole.folder.name
    folder.mkdir(parents=True)
    known = {key: whole.record[key] for key in ("format", "name", "signature", "seed", "guard")}
    (folder / "run.json").write_text(json.dumps({**known, "status": "queued"}))
    fresh = leap(tmp_path / "fresh")
    assert fresh.folder == folder
    assert "training goes back" not in (folder / "train.log").read_text()
    assert result(tmp_path / "fresh") == result(tmp_path / "whole")


def test_examples_that_are_bad_at_any_learning_rate_are_said_to_be_and_no_other_cause_is(tmp_path: Path) -> None:
    with pytest.raises(NonFiniteError) as raised:
        train(tmp_path, guard__action="rewind", guard__rewind_every=1 / PER_EPOCH, guard__limit=2)
    assert str(raised.value).endswith(
        f"It was on {ON} (bad_step in run.json {ALL} Training had gone back 2 times, as often as it may (guard.limit), "
        "with the learning rate multiplied by 0.25 in all. It was bad at that step each time, whatever the learning "
        "rate was: its examples are the likely cause. Take them out, or leave its update out by guard.action=skip."
    )
    record, log = only(tmp_path).record, (only(tmp_path).folder / "train.log").read_text()
    assert log.count(f"It was on {ON} (guard in run.json {ALL}\n") == 1
    first = max(each["to"] for each in record["guard"])
    assert f"By 2 rewinds the learning rate is multiplied by 0.25 in all from step {first} on.\n" in log
    assert [each["batch"] for each in record["guard"]] == [NAMED, NAMED]
    assert {name: record["bad_step"][name] for name in NAMED} == NAMED
