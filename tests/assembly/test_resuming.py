"""What a run is continued from: its newest checkpoint that can be trusted, under its plan, as the same recipe."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import pytest
import torch
from tests.assembly.test_conduct import QUICK, train

from shoal.assembly import Screen, conduct
from shoal.errors import CheckpointError
from shoal.recipe.compose import compose
from shoal.store import RunFolder, record
from shoal.store.layout import FILES
from shoal.training import SoloEngine


def stopped(runs: Path) -> RunFolder:
    """A run that was killed after its last checkpoint; the one before is of step 20."""
    folder, _ = train(runs)
    record.update(folder, status="killed")
    assert (folder.checkpoints / "step-00000030").is_dir()
    return folder


def test_a_damaged_checkpoint_is_named_once_set_aside_and_passed_over(tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    expected = folder.history.read_bytes()
    engine = folder.checkpoints / "step-00000030" / "engine.pt"
    data = bytearray(engine.read_bytes())
    data[len(data) // 2] ^= 1
    engine.write_bytes(data)
    again, said = train(tmp_path)
    assert said.count("damaged checkpoint was set aside") == 1
    assert said.count(str(engine)) == 1
    assert "resuming at step 20" in said
    assert (folder.checkpoints / "step-00000030.damaged").is_dir()
    assert again.history.read_bytes() == expected
    record.update(folder, status="killed")
    _, said = train(tmp_path)
    assert "set aside" not in said
    assert "resuming at step 30" in said


def test_where_all_checkpoints_are_damaged_nothing_is_deleted(tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    for engine in folder.checkpoints.glob("step-*/engine.pt"):
        engine.write_bytes(b"")
    before = {path: path.read_bytes() for path in folder.path.rglob("*.*") if path.is_file()}
    with pytest.raises(CheckpointError, match=r"no checkpoint can be trusted(.|\n)*--again") as refused:
        train(tmp_path)
    for step in (20, 30):
        assert f"{folder.checkpoints / f'step-{step:08d}' / 'engine.pt'}: 0 bytes, expected " in str(refused.value)
    changed = [path.name for path, content in before.items() if path.read_bytes() != content]
    assert set(changed) <= {"run.json", "train.log", "recipe.yaml"}
    facts = record.read(folder)
    assert facts["status"] == "failed"
    assert "no checkpoint can be trusted" in facts["reason"]


@pytest.mark.parametrize(
    "recorded",
    [{"torch": "2.0.0"}, {"device": "cuda:0"}, {"hardware": "abacus"}, {"torch": "2.0.0", "device": "cuda:0"}],
    ids=" ".join,
)
def test_a_plan_that_cannot_be_repeated_is_said_and_the_run_goes_on(tmp_path: Path, recorded: dict[str, str]) -> None:
    folder = stopped(tmp_path)
    plan = record.read(folder)["plan"]
    record.update(folder, plan={**plan, **recorded})
    shutil.rmtree(folder.checkpoints / "step-00000030")
    _, said = train(tmp_path)
    changes = [f"{key} {value} -> {plan[key]}" for key, value in recorded.items()]
    for change in changes:
        assert f"the plan cannot be repeated ({change}): from here on the run is the same to rounding only." in said
    facts = record.read(folder)
    assert facts["status"] == "finished"
    assert facts["plan"] == plan
    assert sorted(facts["replanned"]) == sorted(changes), "whoever reads the run later is told too"


def test_resuming_repeats_the_number_of_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For the run alone: whoever trains in a notebook has their own number again afterwards."""
    folder = stopped(tmp_path)
    record.update(folder, plan={**record.read(folder)["plan"], "threads": 2})
    seen: list[int] = []
    step = SoloEngine.step
    monkeypatch.setattr(SoloEngine, "step", lambda *arguments: seen.append(torch.get_num_threads()) or step(*arguments))
    shutil.rmtree(folder.checkpoints / "step-00000030")
    train(tmp_path)
    assert record.read(folder)["plan"]["threads"] == 2
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1


PRESET = """
defaults: [digits_mlp]
optimizer: {lr: 0.1}
checkpoint: {every: 10}
"""


def test_an_edited_recipe_is_a_new_run_and_an_edited_comment_is_not(tmp_path: Path) -> None:
    """The run that was interrupted stays as it is, and the recipe it had continues it."""
    presets, runs = tmp_path / "presets", tmp_path / "runs"
    presets.mkdir()

    def started(text: str, *words: str) -> tuple[RunFolder, str]:
        (presets / "mine.yaml").write_text(text)
        said = io.StringIO()
        recipe = compose("mine", [*QUICK[:2], *words], config_dir=presets)
        return conduct(recipe, runs=runs, screen=Screen(said)), said.getvalue()

    folder, _ = started(PRESET)
    record.update(folder, status="killed")
    shutil.rmtree(folder.checkpoints / "step-00000030")
    before = {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    other, said = started(PRESET.replace("0.1", "0.2"))
    assert other != folder
    assert "resuming" not in said
    assert record.read(other)["attempts"] == 1
    assert before == {path: path.read_bytes() for path in folder.path.rglob("*") if path.is_file()}
    same, said = started(
        f"# half of what it was\n{PRESET}name: another\n", "checkpoint.every=7", "log.tensorboard=true"
    )
    assert same == folder
    assert "resuming at step 20" in said
    assert record.read(folder)["status"] == "finished"
    assert same.history.read_bytes() == before[folder.history]


def test_what_killed_processes_left_half_written_is_removed(tmp_path: Path) -> None:
    folder = stopped(tmp_path)
    expected = {path.name for path in folder.path.iterdir()}
    left = [".run.json.tmp-71", ".recipe.yaml.tmp-72", ".probe-x1", "samples/.samples.json.tmp-73"]
    for name in [*left, ".mine"]:
        (folder.path / name).write_text("{")
    (folder.checkpoints / "step-00000040.tmp-74").mkdir()
    train(tmp_path)
    assert {path.name for path in folder.path.iterdir()} == expected | {".mine"}
    assert expected <= FILES
    assert not list(folder.path.rglob("*.tmp-*"))
