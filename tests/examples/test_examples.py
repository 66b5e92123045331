"""Every example runs, in a process of its own, as its head says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.faults.endings import waited

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SHOAL = [sys.executable, "-m", "shoal"]
ENTRIES = ["--module", "own_module", "--config-dir", str(EXAMPLES / "presets")]


def environment() -> dict[str, str]:
    paths = [str(ROOT / "src"), str(EXAMPLES)]
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)}


def run(*words: str, here: Path) -> str:
    """Run a command in the folder `here` on one thread; return what it printed on stdout."""
    here.mkdir(exist_ok=True)
    done = subprocess.run(words, cwd=here, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_entries_of_ones_own_are_named_by_a_preset_and_by_keys(tmp_path: Path) -> None:
    quick = ["budget.epochs=8", "--json"]
    told = json.loads(run(*SHOAL, "train", "rings", *ENTRIES, *quick, here=tmp_path))
    assert told["run"].startswith("rings-")
    assert told["metrics"]["test.accuracy"] > 0.9
    other = json.loads(run(*SHOAL, "train", "rings", *ENTRIES, *quick, "task.smoothing=0.2", here=tmp_path))
    assert other["signature"] != told["signature"]
    again = json.loads(run(*SHOAL, "test", told["folder"], "--module", "own_module", "--json", here=tmp_path))
    assert again["metrics"]["test.accuracy"] == told["metrics"]["test.accuracy"]


def test_a_preset_of_ones_own_extends_a_shipped_one(tmp_path: Path) -> None:
    words = ["train", "digits_wide", "--config-dir", str(EXAMPLES / "presets"), "budget.epochs=2", "--json"]
    told = json.loads(run(*SHOAL, *words, here=tmp_path))
    recipe = (tmp_path / told["folder"] / "recipe.yaml").read_text()
    assert "width: 256" in recipe
    assert "name: sgd" in recipe
    assert told["steps"] == 2 * 39


def test_a_model_and_arrays_of_ones_own(tmp_path: Path) -> None:
    first = run(sys.executable, str(EXAMPLES / "own_model.py"), here=tmp_path)
    assert re.search(r"is finished; R2 on test: 0\.9\d+", first)
    again = run(sys.executable, str(EXAMPLES / "own_model.py"), here=tmp_path)
    assert again.splitlines() == first.splitlines()[-3:]  # it was finished: nothing was trained


def test_a_loop_written_by_hand_is_stopped_and_continued_with_the_same_bits(tmp_path: Path) -> None:
    loop = [sys.executable, str(EXAMPLES / "own_loop.py")]
    whole = run(*loop, here=tmp_path)
    run(*loop, "other", "100", here=tmp_path)
    run(*loop, "other", "130", here=tmp_path)
    assert run(*loop, "other", here=tmp_path) == whole
    assert float(re.findall(r"accuracy (0\.\d+)", whole)[0]) > 0.95


def test_the_basic_pipeline_by_hand_is_killed_and_ends_with_the_same_bytes(tmp_path: Path) -> None:
    script = EXAMPLES / "basic_pipeline.py"
    assert len(script.read_text().splitlines()) < 60
    words = [sys.executable, str(script), "--epochs", "20", "--lr", "0.05"]
    whole = run(*words, here=tmp_path / "whole")
    killed = tmp_path / "killed"
    killed.mkdir()
    with subprocess.Popen(words, cwd=killed, env=environment(), stdout=subprocess.DEVNULL) as process:
        waited(lambda: list(killed.glob("runs/*/seed-0/history.jsonl")) and rows(killed) > 3, "four rows")
        process.kill()
    assert rows(killed) < 20
    again = run(*words, here=killed)
    assert again.splitlines()[-1] == whole.splitlines()[-1]
    assert re.search(r"^basic_pipeline-\w+/seed-0: test accuracy 9[89]\.\d+%$", again, re.MULTILINE)
    found = [next((tmp_path / name).glob("runs/*/seed-0/history.jsonl")) for name in ("whole", "killed")]
    assert found[0].read_bytes() == found[1].read_bytes()
    finished = run(*words, here=killed)
    assert "it is not trained again" in finished
    assert finished.splitlines()[-1] == whole.splitlines()[-1]


def rows(folder: Path) -> int:
    (history,) = folder.glob("runs/*/seed-0/history.jsonl")
    return history.read_bytes().count(b"\n")


def test_a_gan_by_hand_is_a_run_like_any_other(tmp_path: Path) -> None:
    code = "import gan; gan.CONFIG.update(steps=60, log_every=20); gan.main()"
    told = run(sys.executable, "-c", code, here=tmp_path)
    assert re.search(r"^ring-\w{12}/seed-0: radius \d\.\d+ \+- \d\.\d+$", told, re.MULTILINE)
    listed = [json.loads(line) for line in run(*SHOAL, "ls", "--json", here=tmp_path).splitlines()]
    assert [(each["status"], each["steps"]) for each in listed] == [("finished", 60)]
    assert "train.generator" in run(*SHOAL, "show", "ring", here=tmp_path)


def test_a_branch_in_python_and_by_cond_train_to_the_same_weights(tmp_path: Path) -> None:
    told = run(sys.executable, str(EXAMPLES / "branching_model.py"), here=tmp_path)
    assert re.search(r"the step cannot be captured: Python asks for the value .*branching_model.py, line \d+, in", told)
    assert re.search(r"^InPython: eager, R2 0\.[89]", told, re.MULTILINE)
    assert re.search(r"^ByCond: captured, R2 0\.[89]", told, re.MULTILINE)
    assert float(re.findall(r"differ by (\S+) of their size", told)[0]) < 1e-4


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_every_example_says_how_it_is_run(file: Path) -> None:
    assert f"{file.stem}" in file.read_text().split('"""')[1]
