"""A run that an earlier Shoal trained is read, measured and continued by this one; other formats say what to do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.api.golden_run import FOLDER, train
from tests.checkpoints.test_load import rewrite

import shoal
from shoal.cli import main
from shoal.errors import CheckpointError
from shoal.pages.report import report
from shoal.store import RunFolder, read_journal, record
from shoal.store.verify import verify

CLOSE = {"rel": 1e-4, "abs": 1e-6}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return shutil.copytree(FOLDER, tmp_path / "runs")


@pytest.fixture
def folder(runs: Path) -> RunFolder:
    (found,) = runs.glob("*/seed-0")
    return RunFolder(found)


def test_the_golden_run_is_small_and_says_nothing_of_where_it_was_made() -> None:
    files = [path for path in FOLDER.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 100_000
    (known,) = FOLDER.glob("*/seed-0/run.json")
    assert json.loads(known.read_text())["provenance"] == {"command": "shoal train", "git": None}
    assert "/home" not in known.read_text()


def test_it_is_whole_and_can_be_shown(folder: RunFolder) -> None:
    found = verify(folder)
    assert found.sound, found
    assert [one.step for one in found.checkpoints] == [8, 4]
    page = report(folder)
    assert "golden" in page
    assert "cannot be shown" not in page


def test_it_has_the_metrics_that_were_measured(folder: RunFolder) -> None:
    run = shoal.load(folder.path)
    assert run.status == "finished"
    for name, value in run.test().items():
        assert value == pytest.approx(run.metrics[name], **CLOSE)
    assert set(run.test()) == {name for name in run.metrics if name.startswith("test")}


def test_it_is_the_run_that_its_recipe_means(runs: Path, folder: RunFolder) -> None:
    before = folder.record.read_bytes()
    assert train(runs).folder == folder.path
    assert folder.record.read_bytes() == before, "it was not trained again"


def test_it_is_continued_from_its_checkpoint(runs: Path, folder: RunFolder) -> None:
    expected, _ = read_journal(folder.history)
    shutil.rmtree(folder.checkpoints / "step-00000008")
    record.update(folder, status="stopped")
    run = train(runs)
    assert (run.folder, run.status, run.record["attempts"]) == (folder.path, "finished", 2)
    assert len(run.history) == len(expected)
    for row, known in zip(run.history, expected, strict=True):
        assert row == pytest.approx(known, **CLOSE)


def of_record(folder: RunFolder, version: int) -> None:
    known = json.loads(folder.record.read_text())
    folder.record.write_text(json.dumps(known | {"format": version}))


def of_samples(folder: RunFolder, version: int) -> None:
    path = folder.samples / "samples.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": version}))


def of_checkpoints(folder: RunFolder, version: int) -> None:
    for path in folder.checkpoints.iterdir():
        rewrite(path, lambda manifest: manifest.update(format=version))


WRITTEN: dict[str, tuple[Callable[[RunFolder, int], None], list[str], int]] = {
    "the record": (of_record, ["show"], 2),
    "the record, verified": (of_record, ["verify"], 1),
    "the checkpoints": (of_checkpoints, ["test"], 1),
    "the checkpoints, verified": (of_checkpoints, ["verify"], 1),
    "the samples": (of_samples, ["report", "-o", "page.html"], 0),
}


@pytest.mark.parametrize("version", [2, 99, 0])
@pytest.mark.parametrize("what", WRITTEN)
def test_another_format_is_refused_with_its_version_and_what_to_do(
    what: str, version: int, folder: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change, words, code = WRITTEN[what]
    monkeypatch.chdir(folder.path.parents[2])
    change(folder, version)
    assert main([words[0], str(folder.path), *words[1:]]) == code
    out, err = capsys.readouterr()
    said = out + err + (Path("page.html").read_text() if "page.html" in words else "")
    remedy = (
        "newer than this Shoal reads (1): upgrade Shoal" if version > 1 else "older than this Shoal reads (1): use the"
    )
    assert f"of format {version}, {remedy}" in said


def test_a_run_of_another_format_is_not_trained_over(runs: Path, folder: RunFolder) -> None:
    of_checkpoints(folder, 2)
    record.update(folder, status="stopped")
    before: dict[str, Any] = {path.name: path.read_bytes() for path in folder.checkpoints.rglob("*.pt")}
    with pytest.raises(CheckpointError, match="of format 2, newer than this Shoal reads"):
        train(runs)
    assert {path.name: path.read_bytes() for path in folder.checkpoints.rglob("*.pt")} == before
