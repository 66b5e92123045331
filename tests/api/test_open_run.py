"""`open_run`: a loop of one's own is found, locked, resumed, stopped and recorded as a training from a recipe is."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.api.programs import LABELS, PROGRAMS, REAL, bandit, gan, opened, stages
from tests.faults.chaos import result
from tests.faults.endings import done, ended, forked
from tests.synthetic import holder
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import shoal
from shoal.assembly.opened import OpenRun
from shoal.cli import main
from shoal.errors import InputError, LiveRunError, StoreError
from shoal.store import RunFolder, record

Kinds = pytest.mark.parametrize("kind", PROGRAMS)


class StoppedError(Exception):
    """Raised on purpose."""


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[dict[str, bytes], int]]:
    """What each program ends with when nobody disturbs it, and how often its hook was called."""
    found: dict[str, tuple[dict[str, bytes], int]] = {}
    for kind, program in PROGRAMS.items():
        runs, calls = tmp_path_factory.mktemp(kind), list[int]()
        program(runs, lambda run, calls=calls: calls.append(run.step))
        found[kind] = result(runs), len(calls)
    return found


def at(number: int, what: Callable[[], object]) -> Callable[[OpenRun], None]:
    """A hook that does something at one of its calls, from 1."""
    calls: list[int] = []

    def hook(run: OpenRun) -> None:
        calls.append(run.step)
        if len(calls) == number:
            what()

    return hook


def failing() -> None:
    raise StoppedError


def folder_of(runs: Path) -> RunFolder:
    (found,) = runs.glob("*/seed-*")
    return RunFolder(found)


def rows(runs: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in folder_of(runs).history.read_text().splitlines()]


@Kinds
@pytest.mark.parametrize(("every", "stride"), [(1, 1), (None, 4)])
def test_wherever_a_program_fails_it_goes_on_to_the_same_bits(
    kind: str, every: int | None, stride: int, tmp_path: Path, alone: dict[str, tuple[dict[str, bytes], int]]
) -> None:
    expected, calls = alone[kind]
    for number in range(1, calls + 1, stride):
        runs = tmp_path / str(number)
        for again in (number, 1 + number // 2):
            with suppress(StoppedError):
                PROGRAMS[kind](runs, at(again, failing), checkpoint_every=every)
        PROGRAMS[kind](runs, checkpoint_every=every)
        assert result(runs) == expected, number


@Kinds
def test_a_run_that_is_finished_makes_no_pass_and_writes_nothing(kind: str, tmp_path: Path) -> None:
    first = PROGRAMS[kind](tmp_path)
    before = {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()}

    def hook(run: OpenRun) -> None:
        assert not run.course.frames, "no pass is made"

    again = PROGRAMS[kind](tmp_path, hook)
    assert again.finished
    assert again.metrics == first.metrics
    assert {path: path.read_bytes() for path in first.folder.rglob("*") if path.is_file()} == before
    for name, thing in first.registered.things.items():
        if isinstance(thing, nn.Module):
            theirs = again.registered.things[name].state_dict()
            assert all(torch.equal(value, theirs[key]) for key, value in thing.state_dict().items())


def test_what_is_in_the_folder_is_what_a_training_leaves(tmp_path: Path) -> None:
    run = gan(tmp_path)
    facts, folder = record.read(run.location), run.folder
    assert (facts["status"], facts["steps"], facts["total_steps"], facts["steps_per_epoch"]) == ("finished", 6, 6, 3)
    assert facts["metrics"].keys() == {"train.loss_g", "train.loss_c", "valid.distance", "test.distance"}
    assert facts["identity"]["recipe"] == {"lr": 0.01}
    assert folder == tmp_path / f"gan-{run.signature[:12]}" / "seed-3"
    assert (folder / "recipe.yaml").read_text() == "name: gan\nseed: 3\nlr: 0.01\n"
    assert [(row["step"], row["epoch"]) for row in rows(tmp_path)] == [(3, 1.0), (6, 2.0)]
    assert "valid.distance" in (folder / "train.log").read_text()
    (opened_again,) = shoal.runs(tmp_path)
    assert opened_again.states().keys() == {"generator", "critic", "adam_g", "adam_c", "best"}
    assert opened_again.states()["best"]["distance"] == min(row["valid.distance"] for row in rows(tmp_path))
    assert shoal.runs(tmp_path).where(lr=0.01)[0].label == run.label


def test_steps_and_epochs_of_rows(tmp_path: Path) -> None:
    bandit(tmp_path / "bandit")
    assert [row["step"] for row in rows(tmp_path / "bandit")] == [0, 3, 6, 8]
    assert all("epoch" not in row for row in rows(tmp_path / "bandit"))
    stages(tmp_path / "stages")
    told = [(row["step"], row["epoch"]) for row in rows(tmp_path / "stages")]
    assert told == [(1, 1), (2, 2), (3, 3), (3, 3), (7, 2)]


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1], ids=lambda number: number.name)
@Kinds
def test_a_signal_saves_stops_with_75_and_the_program_goes_on(
    kind: str, number: signal.Signals, tmp_path: Path, alone: dict[str, tuple[dict[str, bytes], int]]
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as left:
        PROGRAMS[kind](tmp_path, at(2, lambda: os.kill(os.getpid(), number)), checkpoint_every=None)
    assert left.value.code == 75
    assert signal.getsignal(number) is before
    facts = record.read(folder_of(tmp_path))
    assert (facts["status"], facts["stopped"]["by"]) == ("stopped", number.name)
    assert facts["steps"] == facts["stopped"]["new_steps"] > 0
    assert (folder_of(tmp_path).checkpoints / f"step-{facts['steps']:08d}").is_dir()
    PROGRAMS[kind](tmp_path, checkpoint_every=None)
    assert result(tmp_path) == alone[kind][0]


@pytest.mark.faults
def test_a_signal_outside_of_the_loops_is_answered_at_once(tmp_path: Path) -> None:
    reached: list[str] = []

    def program() -> None:
        with opened(tmp_path, "early"):
            os.kill(os.getpid(), signal.SIGTERM)
            reached.append("after")

    with pytest.raises(SystemExit):
        program()
    assert not reached
    assert record.read(folder_of(tmp_path))["reason"] == "stopped by SIGTERM at step 0"


@pytest.mark.faults
@Kinds
def test_a_program_that_is_killed_goes_on_to_the_same_bits(
    kind: str, tmp_path: Path, alone: dict[str, tuple[dict[str, bytes], int]]
) -> None:
    expected, calls = alone[kind]

    def killed() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    for number in range(1, calls + 1, 2):
        code = done(lambda number=number: bool(PROGRAMS[kind](tmp_path, at(number, killed), checkpoint_every=2)) - 1)
        if code == 0:
            break
        assert code == -signal.SIGKILL
    assert record.status(folder_of(tmp_path)) in ("killed", "finished")
    PROGRAMS[kind](tmp_path, checkpoint_every=2)
    assert result(tmp_path) == expected
    assert record.read(folder_of(tmp_path))["attempts"] > 2


@pytest.mark.faults
def test_what_a_program_forks_can_be_ended(tmp_path: Path) -> None:
    with opened(tmp_path, "forks"):
        pid = forked(lambda: time.sleep(60))
        time.sleep(0.1)
        os.kill(pid, signal.SIGINT)
        os.kill(pid, signal.SIGTERM)
        assert ended(pid) == -signal.SIGTERM


def test_what_the_block_raises_is_recorded_and_raised(tmp_path: Path) -> None:
    def program() -> None:
        with opened(tmp_path, "broken") as run:
            for _ in run.steps(3):
                run.log({"loss": 1 / 0})

    with pytest.raises(ZeroDivisionError):
        program()
    facts = record.read(folder_of(tmp_path))
    assert (facts["status"], facts["reason"]) == ("failed", "ZeroDivisionError: division by zero")
    assert 'run.log({"loss": 1 / 0})' in folder_of(tmp_path).log.read_text()


def test_a_program_that_leaves_by_itself_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as left, opened(tmp_path, "leaves"):
        raise SystemExit(0)
    assert left.value.code == 0
    assert record.status(folder_of(tmp_path)) == "stopped"
    with pytest.raises(SystemExit), opened(tmp_path, "leaves"):
        raise SystemExit(3)
    assert record.status(folder_of(tmp_path)) == "failed"


def test_a_run_that_another_process_trains_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoppedError), opened(tmp_path, "held"):
        failing()
    with holder(folder_of(tmp_path)), pytest.raises(LiveRunError, match="is being trained by process"):
        opened(tmp_path, "held").__enter__()


def test_the_callers_random_numbers_are_its_own(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    gan(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_again_sets_the_run_aside(tmp_path: Path) -> None:
    first = bandit(tmp_path)
    again = bandit(tmp_path, again=True)
    assert again.metrics == first.metrics
    assert sorted(path.name for path in first.folder.parent.iterdir()) == ["seed-3", "seed-3.aside-1"]


def test_what_is_registered_comes_back_in_place(tmp_path: Path) -> None:
    def things() -> dict[str, Any]:
        return {
            "weights": torch.zeros(2), "counts": np.zeros(2), "names": ["a"], "facts": {"x": 1},
            "torchs": torch.Generator(), "numpys": np.random.default_rng(0), "pythons": random.Random(0),
        }  # fmt: skip

    first, draws = things(), list[Any]()
    with opened(tmp_path, "things") as run:
        run.register(**first)
        for _ in run.steps(2):
            first["weights"] += 1
            first["counts"][0] += 1
            first["names"].append("b")
            first["facts"]["y"] = [1, 2.5, None, True]
            torch.rand(1, generator=first["torchs"]), first["numpys"].random(), first["pythons"].random()
    second = things()
    with opened(tmp_path, "things") as run:
        run.register(**second)
    assert second["weights"].tolist() == [2.0, 2.0]
    assert second["counts"].tolist() == [2.0, 0.0]
    assert second["names"] == ["a", "b", "b"]
    assert second["facts"] == {"x": 1, "y": [1, 2.5, None, True]}
    for each in (first, second):
        draws.append(
            (torch.rand(1, generator=each["torchs"]).item(), each["numpys"].random(), each["pythons"].random())
        )
    assert draws[0] == draws[1]


MISTAKES: dict[str, tuple[Callable[[OpenRun], object], str]] = {
    "a number": (lambda run: run.register(best=0.5), "best is a float: expected what has state_dict"),
    "twice": (lambda run: (run.register(a=[]), run.register(a=[])), "'a' is registered already"),
    "a loader": (lambda run: next(run.batches(DataLoader(TensorDataset(REAL)), epochs=1)), "run.batches\\(loader.data"),
    "no epochs": (lambda run: next(run.batches(REAL, batch_size=4)), r"is missing: batches\(\.\.\., epochs=5\)"),
    "epochs twice": (
        lambda run: [next(run.batches(REAL, batch_size=4, epochs=2)) for _ in run.epochs(2)],
        "is said by run.epochs",
    ),
    "no size": (lambda run: next(run.batches(REAL, epochs=1)), "expected data and a batch_size"),
    "lengths": (lambda run: next(run.batches(REAL, LABELS[1:], batch_size=4, epochs=1)), "have 40, 39 rows"),
    "a large batch": (
        lambda run: next(run.batches(REAL, batch_size=41, epochs=1, drop_last=True)),
        "at most 40, the number of examples, or drop_last=False",
    ),
    "a loop in a step": (lambda run: [list(run.steps(2)) for _ in run.steps(2)], "stands within a step"),
    "no name": (lambda run: run.log({"": 1}), "'' cannot name a metric"),
    "a step": (lambda run: run.log({"step": 1}), "'step' cannot name a metric"),
    "a text": (lambda run: run.log({"loss": "low"}), "loss is a str: a metric is one number"),
    "a batch": (lambda run: run.log({"loss": torch.ones(2)}), r"a Tensor of shape \[2\]: a metric is one number"),
    "no epochs at all": (lambda run: next(run.epochs(0)), r"epochs\(0\): expected a whole number from 1"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_what_to_do(mistake: str, tmp_path: Path) -> None:
    action, message = MISTAKES[mistake]
    with pytest.raises(InputError, match=message), opened(tmp_path, "mistaken") as run:
        action(run)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (lambda run: run.register(model=nn.Linear(3, 3)), "the state of 'model' in the checkpoint does not fit"),
        (lambda run: run.register(other=nn.Linear(2, 2)), "no state of 'other': unknown name 'other'"),
        (lambda run: [next(run.steps(4)) for _ in range(1)], "has the state of model, which the program has not"),
        (lambda run: list(run.batches(REAL, batch_size=4, epochs=1)), "loop 1 has 10 batches an epoch; the run was"),
        (lambda run: run.register(model=nn.Linear(2, 2)), "did not come by the loop in which the run was saved"),
    ],
    ids=["shape", "name", "missing", "size", "way"],
)
def test_a_program_that_changed_is_refused_and_nothing_is_lost(
    changed: Callable[[OpenRun], object], message: str, tmp_path: Path
) -> None:
    def program(hook: Callable[[OpenRun], None]) -> list[int]:
        with opened(tmp_path, "changing") as run:
            run.register(model=nn.Linear(2, 2))
            return [step for step in run.steps(4) if hook(run) is None]

    with pytest.raises(StoppedError):
        program(at(3, failing))
    with pytest.raises(InputError, match=message), opened(tmp_path, "changing") as run:
        changed(run)
    assert program(lambda run: None) == [2, 3]


def test_a_dataset_is_read_by_workers_from_where_the_run_was(tmp_path: Path) -> None:
    def train(workers: int, until: int) -> list[list[float]]:
        seen: list[list[float]] = []
        with opened(tmp_path, "workers") as run:
            for x, _ in run.batches(TensorDataset(REAL, LABELS), batch_size=10, epochs=2, workers=workers):
                seen.append(x[:, 0].tolist())
                if len(seen) == until:
                    failing()
        return seen

    with pytest.raises(StoppedError):
        train(0, 3)
    rest = train(2, 100)
    assert len(rest) == 6
    assert sorted(value for batch in rest[-4:] for value in batch) == sorted(REAL[:, 0].tolist())


def test_a_command_that_needs_a_recipe_says_who_made_the_run(tmp_path: Path) -> None:
    folder = gan(tmp_path).folder
    for action in (
        lambda run: run.model(),
        lambda run: run.test(),
        lambda run: run.recipe,
        lambda run: run.predict("x"),
    ):
        with pytest.raises(StoreError, match=r"was made by open_run in the program gan .*programs\.py"):
            action(shoal.load(folder))
    with pytest.raises(StoreError, match="made by open_run"):
        shoal.load(folder).export(weights=tmp_path / "w.safetensors")
    with pytest.raises(StoreError, match="made by open_run"):
        shoal.train({"init.from": str(folder), "budget.steps": 1}, runs=tmp_path, quiet=True)


def test_a_history_that_was_removed_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        gan(tmp_path, at(6, failing))
    folder_of(tmp_path).history.write_bytes(b"")
    run = gan(tmp_path)
    assert run.finished
    assert [row["step"] for row in rows(tmp_path)] == [6]
    assert "history.jsonl" in (run.folder / "train.log").read_text()
    assert [known["file"] for known in record.read(run.location)["journals"]] == ["history.jsonl"]


def test_commands_that_read_folders_read_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = gan(tmp_path / "runs")
    words = ["--runs", str(tmp_path / "runs")]
    for command in (["ls"], ["show", "gan"], ["logs", "gan"], ["verify", "--all"]):
        assert main([*command, *words]) == 0
        assert "gan-" in capsys.readouterr().out
    assert main(["report", "gan", "-o", str(tmp_path / "page.html"), *words]) == 0
    page = (tmp_path / "page.html").read_text()
    assert "loss_g" in page
    assert "the program has ended" in page
    assert main(["export", "gan", "--history", str(tmp_path / "h.csv"), *words]) == 0
    assert (tmp_path / "h.csv").read_text().startswith("step,epoch,train.loss_g")
    assert main(["test", "gan", *words]) == 2
    assert "was made by open_run in the program gan" in capsys.readouterr().err
    assert main(["rm", "gan", "--yes", *words]) == 0
    assert not run.folder.exists()


def test_event_files_have_the_rows_and_the_result(tmp_path: Path) -> None:
    from tests.assembly.boards import scalars

    with pytest.raises(StoppedError):
        gan(tmp_path, at(6, failing), tensorboard=True)
    run = gan(tmp_path, tensorboard=True)
    found = scalars(run.folder / "tensorboard")
    assert [step for step, _ in found["distance/valid"]] == [3, 6]
    assert found["final/test.distance"][0][1] == pytest.approx(run.metrics["test.distance"])
    shoal.load(run.folder).export(tensorboard=tmp_path / "board", quiet=True)
    assert scalars(tmp_path / "board")["distance/valid"] == found["distance/valid"]
