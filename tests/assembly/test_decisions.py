"""Where a training goes wrong it goes back, or into parts, as the recipe says; what was decided is kept."""

from __future__ import annotations

import io
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from shoal.assembly import Objects, Screen, Workshop, conduct
from shoal.assembly.decisions import Decision, accumulate, follows, lr_factor, recorded
from shoal.checkpoints import newest
from shoal.errors import NonFiniteError, OutOfMemoryError
from shoal.recipe.compose import compose
from shoal.store import RunFolder, read_journal, record

QUICK = ["budget.steps=40", "evaluate.every=10", "checkpoint.every=7", "execution=eager"]
WILD = ["optimizer.lr=1e4", "optimizer.momentum=0.99", "guard.action=rewind", "guard.rewind_every=5"]


def train(runs: Path, *words: str, model: Any = None) -> tuple[RunFolder, str]:
    said = io.StringIO()
    recipe = compose("digits_mlp", [*QUICK, *words])
    return conduct(recipe, Objects(model=model), runs=runs, screen=Screen(said)), said.getvalue()


def final(folder: RunFolder) -> dict[str, Any]:
    loaded = newest(folder.checkpoints)
    assert loaded is not None
    return dict(loaded.states["engine"]["parameters"])


REWIND = Decision("rewind", 12, 10, "the loss at step 12 is not finite", lr=0.5)
AGAIN = Decision("rewind", 18, 15, "the loss at step 18 is not finite", lr=0.1)
PARTS = Decision("memory", 3, 2, "memory ran out at step 3", accumulate=4)


def test_a_decision_holds_from_where_training_went_back_to() -> None:
    factors = lr_factor([REWIND, AGAIN], np.array([0, 9, 10, 14, 15, 30]))
    np.testing.assert_allclose(factors, [1, 1, 0.5, 0.5, 0.05, 0.05])
    assert accumulate([REWIND], 2) == 2
    assert accumulate([REWIND, PARTS, AGAIN], 2) == 4


def test_decisions_are_read_as_they_were_recorded() -> None:
    assert recorded({"guard": [REWIND.plain(), PARTS.plain()]}) == [REWIND, PARTS]
    assert recorded({}) == []


@pytest.mark.parametrize(
    ("manifest", "on_course"),
    [
        ({"step": 10}, True),
        ({"step": 11}, False),  # of the course that was left
        ({"step": 11, "decisions": 1}, True),
        ({"step": 16, "decisions": 1}, False),
        ({"step": 16, "decisions": 2}, True),
    ],
)
def test_a_checkpoint_of_a_course_that_was_left_is_told(manifest: dict[str, Any], on_course: bool) -> None:
    assert follows(manifest, [REWIND, AGAIN]) == on_course


def test_a_training_that_diverges_goes_back_and_on_with_a_smaller_learning_rate(tmp_path: Path) -> None:
    folder, said = train(tmp_path, *WILD, "guard.rewind_lr=0.0001")
    facts = record.read(folder)
    assert facts["status"] == "finished"
    decisions = recorded(facts)
    assert decisions[0].to == (decisions[0].step - 1) // 5 * 5
    assert [decision.to for decision in decisions] == sorted((d.to for d in decisions), reverse=True)
    for decision in decisions:
        assert f"is not finite: training goes back to step {decision.to}, and on with the learning rate" in said
    rows, unreadable = read_journal(folder.history)
    assert (unreadable, [row["step"] for row in rows]) == (0, [10, 20, 30, 40, 40])
    lrs = {row["step"]: row["lr"] for row in rows if "lr" in row}
    assert lrs[40] < 1e4 * 0.0001 ** len(decisions)
    assert all(value.isfinite().all() for value in final(folder).values())


def test_a_run_that_was_stopped_after_a_rewind_ends_with_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped right after the decision was recorded: the checkpoints of the course that was left are still there."""
    words = [*WILD, "guard.rewind_lr=0.0001"]
    alone, _ = train(tmp_path / "alone", *words)

    class Killed(BaseException):
        pass

    def killed(*_: Any) -> None:
        raise Killed

    import shoal.assembly.conduct  # noqa: F401

    module = __import__("sys").modules["shoal.assembly.conduct"]
    with monkeypatch.context() as patch:
        patch.setattr(module.Decision, "said", property(killed))
        with pytest.raises(Killed):
            train(tmp_path / "cut", *words)
    again, said = train(tmp_path / "cut", *words)
    assert "resuming at step" in said
    assert final(again).keys() == final(alone).keys()
    assert all(torch.equal(value, final(alone)[name]) for name, value in final(again).items())
    assert again.history.read_bytes() == alone.history.read_bytes()


def test_after_so_many_rewinds_the_run_fails(tmp_path: Path) -> None:
    told = r"^the loss at step \d+ is not finite.* \(guard\.limit\)\. Usually the learning rate is too large[^U]*$"
    with pytest.raises(NonFiniteError, match=told):
        train(tmp_path, *WILD, "guard.rewind_lr=1", "guard.limit=3")
    (path,) = tmp_path.glob("*/seed-0")
    facts = record.read(RunFolder(path))
    assert facts["status"] == "failed"
    made = [(each.step, each.to) for each in recorded(facts)]
    first = made[0][0]
    assert made == [(first, first // 5 * 5 - 5 * number) for number in range(3)], "the same bits go wrong again"


class Hungry(nn.Module):
    """A network that finds no memory for the gradient of more than 8 examples."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(int(np.prod(input_shape)), outputs)

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and len(x) > 8:
            torch.empty(1 << 50)
        return self.layer(x.flatten(1))


class Coupled(Hungry):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__(input_shape, outputs)
        self.norm = nn.BatchNorm2d(1)


def test_memory_that_runs_out_halves_the_parts_of_a_batch_where_that_is_allowed(tmp_path: Path) -> None:
    folder, said = train(tmp_path / "halved", "guard.memory=halve", model=Hungry)
    assert [each.accumulate for each in recorded(record.read(folder))] == [2, 4]
    assert "memory ran out at step 1: from here on the gradient is computed in 4 parts (guard.memory=halve)" in said
    told, _ = train(tmp_path / "told", "accumulate=4", model=Hungry)
    assert all(torch.equal(value, final(told)[name]) for name, value in final(folder).items())
    resumed, _ = train(tmp_path / "halved", "guard.memory=halve", model=Hungry)
    assert resumed == folder


def test_the_memory_of_the_engine_that_ran_out_is_free_before_there_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, engine = list[weakref.ref[Any]](), Workshop.engine

    def counted(self: Workshop, *arguments: Any) -> Any:
        assert [ref() for ref in made] == [None] * len(made)
        found = engine(self, *arguments)
        made.append(weakref.ref(found))
        return found

    monkeypatch.setattr(Workshop, "engine", counted)
    train(tmp_path, "guard.memory=halve", model=Hungry)
    assert len(made) == 3


def test_memory_that_runs_out_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(
        OutOfMemoryError, match=r"memory ran out at step 1, on a batch of 32 examples\. Add accumulate=2"
    ):
        train(tmp_path, model=Hungry)
    (path,) = tmp_path.glob("*/seed-0")
    assert "memory ran out" in record.read(RunFolder(path))["reason"]


def test_a_batch_norm_is_not_halved(tmp_path: Path) -> None:
    with pytest.raises(OutOfMemoryError, match=r"guard\.memory=halve cannot help: norm is a batch norm"):
        train(tmp_path, "guard.memory=halve", model=Coupled)
