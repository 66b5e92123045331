"""The newest are kept, two at least; what a killed process left half-done is cleared away, and nothing else is."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from shoal.checkpoints import newest, prune, save, sweep


def steps(folder: Path) -> list[str]:
    return sorted(path.name.removeprefix("step-").lstrip("0") for path in folder.iterdir())


@pytest.fixture
def many(tmp_path: Path) -> Path:
    for step in (1, 2, 3, 10, 20):
        save(tmp_path, step, {"engine": {"steps": step}}, {})
    return tmp_path


@pytest.mark.parametrize(
    ("keep", "kept"), [(4, ["10", "2", "20", "3"]), (2, ["10", "20"]), (1, ["10", "20"]), (0, ["10", "20"])]
)
def test_the_newest_are_kept_two_at_least(keep: int, kept: list[str], many: Path) -> None:
    prune(many, keep)
    assert steps(many) == kept
    loaded = newest(many)
    assert loaded is not None
    assert loaded.states["engine"] == {"steps": 20}


def test_fewer_than_are_kept_are_left_alone(many: Path) -> None:
    prune(many, 9)
    assert len(steps(many)) == 5


def test_a_half_removed_one_is_no_hindrance(many: Path) -> None:
    (many / "step-00000001.del").mkdir()
    (many / "step-00000001.del" / "engine.pt").write_bytes(b"")
    prune(many, 2)
    assert steps(many) == ["10", "20"]


def test_leftovers_are_swept_and_nothing_else(many: Path) -> None:
    leftovers = ["step-00000030.tmp-4711", "step-00000001.del", "step-100000000.tmp-1"]
    others = ["step-00000002.damaged", "my.delivery", "notes.tmp-1", "step-00000003.deleted-by-hand"]
    for name in leftovers + others:
        (many / name).mkdir()
        (many / name / "engine.pt").write_bytes(b"x")
    before = {path.name for path in many.iterdir()}
    sweep(many)
    assert {path.name for path in many.iterdir()} == before - set(leftovers)


def test_a_checkpoint_that_was_to_make_way_gets_its_name_back_where_nothing_took_it(many: Path) -> None:
    (many / "step-00000020").rename(many / "step-00000020.was")
    shutil.copytree(many / "step-00000010", many / "step-00000010.was")
    sweep(many)
    assert steps(many) == ["1", "10", "2", "20", "3"]
    loaded = newest(many)
    assert loaded is not None
    assert loaded.states["engine"] == {"steps": 20}


def test_where_there_is_no_folder_there_is_nothing_to_sweep(tmp_path: Path) -> None:
    sweep(tmp_path / "missing")
    prune(tmp_path / "missing", 2)
    assert not list(tmp_path.iterdir())
