"""Checkpoints are written beside the training, from a copy; what goes wrong there is not lost."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from shoal.checkpoints import Writer, damage, newest, save, writer
from shoal.errors import CheckpointError


def test_training_goes_on_from_a_copy_while_the_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write, write = threading.Event(), writer.write

    def later(*arguments: Any) -> Path:
        assert may_write.wait(10)
        return write(*arguments)

    monkeypatch.setattr(writer, "write", later)
    made, weights = Writer(tmp_path / "checkpoints", keep=2), torch.ones(3)
    made.save(10, {"engine": {"weights": weights}}, {"position": [0, 0, 10]})
    weights.add_(1)  # the next step
    assert newest(tmp_path / "checkpoints") is None
    made.check()  # nothing has gone wrong, and it does not wait
    may_write.set()
    made.wait()
    loaded = newest(tmp_path / "checkpoints")
    assert loaded is not None
    assert loaded.step == 10
    assert torch.equal(loaded.states["engine"]["weights"], torch.ones(3))
    assert made.stall > 0


def test_what_is_written_is_what_saving_writes_and_the_oldest_go(tmp_path: Path) -> None:
    made, order = Writer(tmp_path / "a", keep=2), list[int]()
    for step in (1, 2, 3):
        state = {"engine": {"x": torch.full((5,), float(step)), "steps": step}}
        made.save(step, state, {"position": [0, 0, step]}, first=lambda step=step: order.append(step))
        save(tmp_path / "b", step, state, {"position": [0, 0, step]})
    made.wait()
    assert order == [1, 2, 3]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["step-00000002", "step-00000003"]
    for path in (tmp_path / "a").glob("*/*"):
        assert path.read_bytes() == (tmp_path / "b" / path.parent.name / path.name).read_bytes()


@pytest.mark.parametrize("how", ["check", "save", "wait"])
def test_what_writing_raised_is_raised_once_where_training_sees_it(tmp_path: Path, how: str) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    made = Writer(tmp_path / "checkpoints", keep=2)
    made.save(1, {"engine": {"x": torch.ones(2)}}, {})
    assert made._thread is not None
    made._thread.join()
    with pytest.raises(CheckpointError, match="cannot write a checkpoint"):
        made.save(2, {"engine": {}}, {}) if how == "save" else getattr(made, how)()
    made.wait()


def test_state_that_is_not_plain_is_refused_before_anything_is_handed_over(tmp_path: Path) -> None:
    made = Writer(tmp_path / "checkpoints", keep=2)
    with pytest.raises(CheckpointError, match=r"engine\.where is a pathlib"):
        made.save(1, {"engine": {"where": tmp_path}}, {})
    made.wait()
    assert not (tmp_path / "checkpoints").exists()


def test_a_checkpoint_before_an_evaluation_makes_way_for_the_one_after_it(tmp_path: Path) -> None:
    def best(due: bool) -> Any:
        loaded = newest(tmp_path)
        assert loaded is not None
        assert bool(loaded.meta.get("due")) == due
        return loaded.states["engine"]["best"]

    save(tmp_path, 5, {"engine": {"best": None}}, {"due": True})
    assert best(due=True) is None
    save(tmp_path, 5, {"engine": {"best": 1}}, {})
    assert best(due=False) == 1
    for meta in ({}, {"due": True}):  # nothing else is overwritten
        save(tmp_path, 5, {"engine": {"best": 2}}, meta)
        assert best(due=False) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


def test_of_the_marked_ones_two_and_the_oldest_are_kept_beside_the_newest(tmp_path: Path) -> None:
    made = Writer(tmp_path, keep=2, also="point")
    for step in range(8):
        made.save(step, {"engine": {}}, {"point": True} if step in (0, 1, 3, 4) else {})
        made.wait()
    assert sorted(int(path.name[5:]) for path in tmp_path.iterdir()) == [0, 3, 4, 6, 7]
    assert all(damage(path) is None for path in tmp_path.iterdir())
