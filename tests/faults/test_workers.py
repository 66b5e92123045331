"""Worker processes that die, crash, hang or raise, and examples that cannot be read: named, and nothing is lost."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.cli import train as command
from shoal.errors import DataError, TrainingError
from tests.faults.chaos import result
from tests.faults.endings import alive, children, cut_before, ended, forked, waited
from tests.faults.points import BAD, WORDS, train

pytestmark = pytest.mark.faults


@pytest.fixture
def place(tmp_path: Path) -> Callable[..., Path]:
    """Return what makes a folder of points, with files that say what happens to them."""

    def make(name: str, **files: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for file, text in files.items():
            (folder / file).write_text(text)
        return folder

    return make


@pytest.fixture(autouse=True)
def no_process_is_left() -> Generator[None]:
    """Workers end with what a test began; one that lives on is killed, for the tests would wait for it at their end."""
    before = children(os.getpid())
    yield
    left = children(os.getpid()) - before
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left


def failed(folder: Path) -> dict[str, Any]:
    (run,) = shoal.runs(folder / "runs")
    assert run.status == "failed"
    return run.record


READING = rf"while it read Points\[{BAD}\] in epoch 2\."


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            "killed",
            rf"worker [12] of 2, .* was killed by SIGKILL {READING} The system kills .* Start again to resume",
        ),
        ("exits", rf"worker [12] of 2, .* ended by itself \(exit code 3\) {READING}"),
        (
            "raises",
            rf"Points\[{BAD}\] raised OSError: the disk went away \(.*points\.py, line \d+, in happen\), in epoch 2 "
            r"\(worker [12] of 2\)\. Mend that example, or leave it out: dataset\.broken=skip\. Start again",
        ),
        (
            "hangs",
            r"no batch came from the worker processes for 3 seconds \(dataset\.worker_timeout\): worker [12] of 2 "
            rf"still reads Points\[{BAD}\] in epoch 2\. Look at what that waits for",
        ),
        (
            "memory",
            rf"Points\[{BAD}\] raised (_Array)?MemoryError: Unable to allocate .* in epoch 2 \(worker [12] of 2\)\. "
            r"Memory ran out there: take fewer dataset\.workers",
        ),
    ],
    ids=["killed", "exits", "raises", "hangs", "memory"],
)
def test_a_worker_that_fails_is_named_and_the_run_resumes_to_the_same_bits(
    place: Callable[..., Path], kind: str, message: str
) -> None:
    folder = place("broken", once=kind)
    with pytest.raises(TrainingError, match=message) as raised:
        train(folder, dataset__workers=2, dataset__worker_timeout=3)
    assert failed(folder)["reason"] == f"TrainingError: {raised.value}"
    train(folder, dataset__workers=2)
    whole = place("whole")
    train(whole)
    assert result(folder / "runs") == result(whole / "runs")


@contextmanager
def started(folder: Path, **keys: Any) -> Generator[int]:
    """Yield a forked process that trains with two workers, by the command; at the end all of them are killed."""

    def action() -> int:
        words = {**WORDS, "dataset": "points", "dataset.path": folder, "dataset.workers": 2, **keys}
        given = ["table_mlp", *(f"{key}={value}" for key, value in words.items())]
        os.dup2(os.open(folder / "said", os.O_WRONLY | os.O_CREAT), 1)
        return command.run(given, runs=folder / "runs", config_dir=None, modules=[], again=False, json=False, verbose=0)

    pid = forked(action)
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)
        with suppress(ChildProcessError):  # it was waited for
            ended(pid)


def stepped(folder: Path) -> bool:
    return any(path.stat().st_size for path in folder.glob("runs/*/seed-0/history.jsonl"))


@pytest.mark.parametrize("hanging", [False, True])
def test_workers_end_with_a_training_that_is_killed(place: Callable[..., Path], hanging: bool) -> None:
    folder = place("killed", slow="", once="hangs" if hanging else "")
    with started(folder, **{"dataset.worker_timeout": 100}) as pid:
        waited(lambda: (folder / "happened").exists() if hanging else stepped(folder), "the training", seconds=30)
        workers = children(pid)
        assert len(workers) >= 2
        os.kill(pid, signal.SIGKILL)
        assert ended(pid) == -signal.SIGKILL
        waited(lambda: not alive(workers), "the end of the workers", seconds=3)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_group_of_a_training_with_workers_stops_it_cleanly(
    place: Callable[..., Path], number: signal.Signals
) -> None:
    folder = place("stopped", slow="")
    with started(folder) as pid:
        waited(lambda: stepped(folder), "the training", seconds=30)
        workers = children(pid)
        os.killpg(pid, number)
        assert ended(pid) == 75, (folder / "said").read_text()
        assert not alive(workers)
    (run,) = shoal.runs(folder / "runs")
    assert (run.status, run.record["reason"].split(" at ")[0]) == ("stopped", f"stopped by {number.name}")
    (folder / "slow").unlink()
    train(folder)
    whole = place("whole")
    train(whole)
    assert result(folder / "runs") == result(whole / "runs")


FAULTS = {
    "broken": (
        TrainingError,
        rf"Points[{BAD}] raised ValueError: no such point (",
        "Mend that example, or leave it out: dataset.broken=skip. Start again to resume.",
    ),
    "odd": (
        DataError,
        f"labels out of range: Points[{BAD}] has the label 2: expected 0 to 1. Number the classes from 0; ",
        "Or leave such examples out: dataset.broken=skip.",
    ),
}
"""What may be the matter with an example: the error, and how it begins and ends."""


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("fault", FAULTS)
def test_an_example_that_cannot_be_read_stops_the_run_with_its_name(
    place: Callable[..., Path], fault: str, workers: int
) -> None:
    kind, begins, ends = FAULTS[fault]
    folder = place("stop", **{fault: ""})
    with pytest.raises(kind) as raised:
        train(folder, dataset__workers=workers)
    message = str(raised.value)
    assert message.startswith(begins)
    assert message.endswith(ends)
    if fault == "broken":
        by = r" \(worker [12] of 2\)" if workers else ""
        assert re.search(rf"points\.py, line \d+, in fault\), in epoch 1{by}\. Mend", message)
    assert message in failed(folder)["reason"]
    (folder / fault).unlink()
    assert train(folder, dataset__workers=workers).status == "finished"


@pytest.mark.parametrize("fault", FAULTS)
def test_examples_that_cannot_be_read_are_left_out_where_the_recipe_says_so(
    place: Callable[..., Path], fault: str
) -> None:
    runs: list[shoal.Run] = []
    for workers in (0, 2):
        folder = place(f"skip-{workers}", **{fault: ""})
        runs.append(train(folder, dataset__workers=workers, dataset__broken="skip"))
        left_out = runs[-1].record["left_out"]
        assert {split: (of["count"], of["examples"]) for split, of in left_out.items()} == {
            "train": (1, [BAD]),
            "valid": (1, [BAD]),
        }
        log = (runs[-1].folder / "train.log").read_text()
        for split in ("train", "valid"):
            told = (
                f"1 example of {split} could not be read and was left out (dataset.broken=skip): {BAD}. "
                f"{FAULTS[fault][1]}"
            )
            assert log.count(told) == 1
    assert result(runs[0].folder.parents[1]) == result(runs[1].folder.parents[1])
    sound = place("sound")
    assert train(sound).signature != runs[0].signature, "it is another experiment"
    with pytest.warns(UserWarning, match=rf"1 example of valid could not be read .*: {BAD}\. .*Points\[{BAD}\]"):
        measured = runs[0].test(split="valid")
    assert measured == {name: value for name, value in runs[0].metrics.items() if name.startswith("valid.")}


@pytest.mark.parametrize("workers", [(2, 0), (0, 2)])
def test_what_was_left_out_does_not_depend_on_where_a_run_was_stopped(
    place: Callable[..., Path], workers: tuple[int, int]
) -> None:
    folder, whole = place("cut", broken=""), place("whole", broken="")
    with cut_before(10):
        train(folder, dataset__workers=workers[0], dataset__broken="skip")
    again = train(folder, dataset__workers=workers[1], dataset__broken="skip")
    alone = train(whole, dataset__broken="skip")
    assert result(folder / "runs") == result(whole / "runs")
    assert again.record["left_out"] == alone.record["left_out"]
    log = (again.folder / "train.log").read_text()
    assert log.count(" of train could not be read and was left out") == 1, "it was said by the first attempt"
