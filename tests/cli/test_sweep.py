"""`shoal sweep`, `attach` and `cancel`, by real workers on tiny runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.attempts import wait_until

from shoal.cli import main
from shoal.store import sweeps

TINY = ["digits_mlp", "budget.steps=4", "evaluate.every=2", "execution=eager", "model.width=8"]
LR = "optimizer.lr=0.01,0.1"
ENDLESS = [*TINY[:1], "budget.epochs=4000", "execution=eager", "model.width=8"]


class Said:
    """What a command printed, and its exit code."""

    def __init__(self, capfd: pytest.CaptureFixture[str], *words: object) -> None:
        capfd.readouterr()
        self.code = main([str(word) for word in words])
        self.out, self.err = capfd.readouterr()

    @property
    def results(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with a sweep of four runs."""
    runs = tmp_path_factory.mktemp("swept") / "runs"
    assert main(["sweep", *TINY, LR, "--seeds", "2", "--name", "pair", "--runs", str(runs)]) == 0
    return runs


def test_every_point_is_trained_and_each_run_is_one_as_if_alone(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    found = Said(capfd, "ls", "--runs", trained, "--json").results
    assert {run["status"] for run in found} == {"finished"}
    assert len({(run["signature"], run["seed"]) for run in found}) == 4
    alone = Said(capfd, "train", *TINY, "optimizer.lr=0.1", "seed=1", "--runs", tmp_path, "--json").results[0]
    (same,) = [run for run in found if run["signature"] == alone["signature"] and run["seed"] == 1]
    assert same["metrics"] == alone["metrics"]
    for name in ("history.jsonl", "recipe.yaml"):
        assert (Path(same["folder"]) / name).read_bytes() == (Path(alone["folder"]) / name).read_bytes()


def test_the_same_command_does_nothing_twice(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in trained.glob("*/seed-*/run.json")}
    again = Said(capfd, "sweep", *TINY, LR, "--seeds", 2, "--name", "pair", "--runs", trained)
    assert again.code == 0
    assert "4  finished, kept as they are" in again.out
    assert "Nothing is left to train." in again.out
    assert {path: path.read_bytes() for path in trained.glob("*/seed-*/run.json")} == before


def test_a_plan_trains_nothing_and_says_what_it_would(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", *TINY, f"{LR},1", "--seeds", 2, "--name", "pair", "--runs", trained, "--plan"]
    before = sweeps.path_of(trained, "pair").read_bytes()
    said = Said(capfd, *words)
    assert said.code == 0
    told = [line.split(maxsplit=1) for line in said.out.splitlines()]
    assert ["2", "to start"] in told
    assert ["4", "finished, kept as they are"] in told
    assert "at the rate of its finished runs" in said.out
    assert sweeps.path_of(trained, "pair").read_bytes() == before
    assert len(list(trained.glob("*/seed-*"))) == 4
    planned = Said(capfd, *words, "--json").results
    assert sorted(each["doing"] for each in planned) == ["keep"] * 4 + ["start"] * 2


def test_its_results_are_objects_and_nothing_else_is_on_stdout(
    trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = Said(capfd, "sweep", *TINY, LR, "--seeds", 2, "--name", "pair", "--runs", trained, "--json")
    assert [(run["status"], run["seed"]) for run in said.results] == [("finished", seed) for seed in (0, 1, 0, 1)]
    assert {"run", "signature", "seed", "status", "folder", "steps", "metrics"} <= said.results[0].keys()
    assert "4  finished" in said.err


def test_points_that_are_no_longer_listed_stay_in_the_sweep(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = Said(capfd, "sweep", *TINY, LR, "--seeds", 1, "--name", "pair", "--runs", trained)
    assert "2  no longer listed: their runs stay as they are" in said.out
    kept = sweeps.read(trained, "pair")
    assert [point.listed for point in kept.points] == [True, True, False, False]
    assert len(list(trained.glob("*/seed-*"))) == 4
    assert Said(capfd, "sweep", *TINY, LR, "--seeds", 2, "--name", "pair", "--runs", trained).code == 0
    assert all(point.listed for point in sweeps.read(trained, "pair").points)


def test_a_sweep_that_nobody_trains_is_shown_from_its_files(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    said = Said(capfd, "attach", "pair", "--runs", trained)
    assert said.code == 0
    assert said.out.splitlines()[1].startswith("✓ 2/2")
    assert said.out.splitlines()[-1] == "4 runs: ✓ 4 finished"
    assert Said(capfd, "cancel", "pair", "--runs", trained).out == "pair: nobody trains it\n"


def test_runs_that_cannot_begin_are_told_with_the_reason_and_the_others_are_trained(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", *TINY, "batch_size=32,2000", "--name", "some", "--runs", tmp_path]
    said = Said(capfd, *words)
    assert said.code == 1
    assert "batch_size = 2,000: the train split has 1,257 examples" in said.out
    assert "2 runs: ✓ 1 finished, ✗ 1 failed" in said.out
    assert "batch_size = 2,000" in Said(capfd, "attach", "some", "--runs", tmp_path).out


def test_a_failure_is_left_as_it_is_until_it_is_to_be_tried_again(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ["sweep", *TINY[:-1], "model.width=8,9", "optimizer.lr=1e30", "--name", "nan", "--runs", tmp_path]
    first = Said(capfd, *words)
    assert first.code == 1
    assert "✗ failed" in first.out
    again = Said(capfd, *words)
    assert again.code == 1
    assert "2  failed, left as they are: --retry tries them again" in again.out
    records = [json.loads(path.read_bytes()) for path in tmp_path.glob("*/seed-*/run.json")]
    assert [known["attempts"] for known in records] == [1, 1]
    assert "failed, to be tried again" in Said(capfd, *words, "--retry", "--only", "width=8").out
    records = [json.loads(path.read_bytes()) for path in tmp_path.glob("*/seed-*/run.json")]
    assert sorted(known["attempts"] for known in records) == [1, 2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lrr=1,2"], "the point lrr=1: unknown key optimizer.lrr: did you mean optimizer.lr?"),
        (["optimizer=adamw", "optimizer.momentum=0,0.9"], "momentum is a key of"),
        (["optimizer.lr=log:1:2:0"], "from 1 to 100,000"),
        (["mnist_clnn", "seed=1,2"], "did you mean 'mnist_cnn'"),
        (["no_such.py"], "there is no grid file"),
        (["seed=1,2", "--name", "a/b"], "cannot name a folder"),
        (["seed=1,2", "--only", "nothing"], "fits none of the 2 points"),
        (["dataset.path=/not/there", "dataset=idx", "seed=1,2"], "/not/there"),
        (["seed=1,2", "--module", "no_such_module_at_all"], "there is no such module"),
    ],
)
def test_bad_input_is_told_and_nothing_is_written(
    words: list[str], said: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    runs = tmp_path / "runs"
    answer = Said(capfd, "sweep", *words, "--runs", runs, "--json")
    assert answer.code == 2
    assert said in answer.err
    assert answer.out == ""
    assert not runs.exists()


def test_a_reader_that_leaves_stops_nothing(tmp_path: Path) -> None:
    words = " ".join(
        ["sweep", *TINY, "--seeds", "2", "--name", "unread", "--sort", "test.loss", "--runs", str(tmp_path)]
    )
    done = subprocess.run(
        f"{sys.executable} -m shoal {words} | head -1; echo ${{PIPESTATUS[0]}}",
        shell=True, executable="/bin/bash", capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.stdout.splitlines() == ["sweep unread: 2 runs", "0"], done.stderr
    assert len([*tmp_path.glob("*/seed-*/samples")]) == 2


@pytest.mark.parametrize("command", ["attach", "cancel"])
def test_a_name_that_is_neither_a_runs_nor_a_sweeps_is_told_with_both(
    command: str, trained: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = Said(capfd, command, "pears", "--runs", trained)
    assert (said.code, said.out) == (2, "")
    assert "no run 'pears'" in said.err
    assert "The sweeps are: pair." in said.err


def test_a_damaged_file_of_a_sweep_is_set_aside(trained: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = sweeps.path_of(trained, "pair")
    path.write_text("{")
    said = Said(capfd, "sweep", *TINY, LR, "--seeds", 2, "--name", "pair", "--runs", trained)
    assert said.code == 0
    assert "is damaged" in said.out
    assert len(sweeps.read(trained, "pair").points) == 4


@pytest.fixture
def endless(tmp_path: Path) -> Generator[Path]:
    """A detached sweep of runs that take minutes; its runs folder."""
    runs = tmp_path / "runs"
    command = [sys.executable, "-m", "shoal", "sweep", *ENDLESS, LR, "--name", "long", "--detach", "--runs", str(runs)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
    assert "In the background, as process" in done.stdout
    wait_until(lambda: len([*runs.glob("*/seed-*/history.jsonl")]) == min(2, len(os.sched_getaffinity(0))))
    yield runs
    main(["cancel", "long", "--runs", str(runs)])


def test_a_sweep_outlives_its_terminal_is_attached_to_refused_a_second_time_and_stopped(
    endless: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    shown = Said(capfd, "attach", "--once", "--runs", endless)
    assert "▶ running" in shown.out
    second = Said(capfd, "sweep", *ENDLESS, LR, "--name", "long", "--runs", endless)
    assert second.code == 2
    assert "the sweep long is being trained by process" in second.err
    running = [run for run in Said(capfd, "ls", "--runs", endless, "--json").results if run["status"] == "running"]
    assert Said(capfd, "cancel", running[0]["run"], "--runs", endless).code == 0
    after = {run["run"]: run["status"] for run in Said(capfd, "ls", "--runs", endless, "--json").results}
    assert after[running[0]["run"]] == "stopped"
    assert Said(capfd, "cancel", "long", "--runs", endless).out == "long: stopped\n"
    assert "running" not in {run["status"] for run in Said(capfd, "ls", "--runs", endless, "--json").results}
    said = Said(capfd, "attach", "--runs", endless)
    assert "Nobody trains it. What is left is done by the same command: shoal sweep" in said.out
