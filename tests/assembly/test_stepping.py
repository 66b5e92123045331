"""From a recipe to a step: what is measured, what is chosen, and what is left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch._inductor  # else the first recording here would have to be worth this import
from torch import Tensor, nn
from torch.utils.data import Dataset, IterableDataset

from shoal.assembly import Objects, Workshop, stepping
from shoal.assembly.stepping import Stepping, calibrating, calibration
from shoal.datasets import START, StreamBatches
from shoal.recipe import parse
from shoal.training import Plan
from shoal.training.eager import EagerStep
from shoal.training.execution import Measured
from shoal.training.recorded import RecordedStep
from shoal.training.trial import NotRecordableError

KEYS: dict[str, Any] = {"model": {"name": "mlp", "width": 8}, "batch_size": 16, "budget": {"steps": 5000}}


def made(objects: Objects = Objects(), **keys: Any) -> Stepping:
    return Workshop(parse({**KEYS, **keys}), objects).stepping


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Seconds that a step takes, by execution: nothing here depends on how fast the machine is."""
    taken = {"eager": 1e-3, "captured": 6e-4, "compiled": 1e-4}
    monkeypatch.setattr(stepping, "step_seconds", lambda *_: taken["eager"])
    monkeypatch.setattr(stepping, "recorded_seconds", lambda step: taken[step.execution])
    return taken


def quiet(sentence: str) -> None:
    raise AssertionError(sentence)


def test_a_short_training_runs_eagerly_without_any_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "step_seconds", None)
    choice, step = made().choose(left=199, known=None, say=quiet)
    assert (choice.execution, choice.why, choice.measured) == ("eager", "eager; 199 steps are too few to measure", None)
    assert isinstance(step, EagerStep)


def test_little_work_is_not_worth_a_recording() -> None:
    choice, step = made().choose(left=900, known=None, say=quiet)
    assert choice.why == "eager; 0.9 s of work is too little to gain from"
    assert isinstance(step, EagerStep)


def test_what_is_measured_fastest_is_chosen_and_the_model_adopts_it_only_then(clock: dict[str, float]) -> None:
    work = made()
    before = [p.data_ptr() for p in work.model.parameters()]
    choice, step = work.choose(left=5000, known=None, say=quiet)
    assert choice.execution == "captured"
    assert choice.measured is not None
    assert choice.measured.captured == 6e-4
    assert isinstance(step, RecordedStep)
    assert [p.data_ptr() for p in work.model.parameters()] == before


def test_a_recording_that_is_not_chosen_leaves_an_eager_run_as_one_that_was_asked_for(clock: dict[str, float]) -> None:
    """Weights at another place in memory may give other last bits, and a resumed run is not measured again."""
    clock["captured"] = 2e-3
    work = made()
    before = [p.data_ptr() for p in work.model.parameters()]
    choice, step = work.choose(left=5000, known=None, say=quiet)
    assert choice.execution == step.execution == "eager"
    assert [p.data_ptr() for p in work.model.parameters()] == before


def test_compiling_is_tried_where_it_may_pay_and_taken_where_it_does(
    clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    recorded = Stepping.recorded

    def pretend(self: Stepping, execution: str, trial: Any = None) -> RecordedStep:
        asked.append(execution)
        step = recorded(self, "captured", trial)
        step.execution, step.compile_seconds = execution, 20.0
        return step

    monkeypatch.setattr(Stepping, "recorded", pretend)
    monkeypatch.setattr(stepping, "no_compiler", lambda: None)
    few, step = made().choose(left=5000, known=None, say=quiet)
    assert (few.execution, step.execution, asked) == ("captured", "captured", ["captured"])
    asked.clear()
    many, step = made().choose(left=10**6, known=None, say=quiet)
    assert (many.execution, step.execution, asked) == ("compiled", "compiled", ["captured", "compiled"])
    asked.clear()
    again, _ = made().choose(left=10**6, known=many.measured, say=quiet)
    assert (again, asked) == (many, ["compiled"])
    clock["compiled"] = 5.9e-4  # it was tried, and is not worth it: the recording that is there is taken
    asked.clear()
    other, step = made().choose(left=10**6, known=None, say=quiet)
    assert (other.execution, step.execution, asked) == ("captured", "captured", ["captured", "compiled"])


def test_a_machine_that_has_become_slower_since_is_slower_for_both(
    clock: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = Stepping.recorded

    def slowed(self: Stepping, execution: str, *rest: Any) -> RecordedStep:
        if execution == "compiled":
            clock.update(captured=1.2e-3, compiled=9e-4)
        return recorded(self, execution, *rest)

    monkeypatch.setattr(Stepping, "recorded", slowed)
    choice, step = made().choose(left=10**6, known=None, say=quiet)
    assert step.execution == "compiled"
    assert choice.why == "compiled, 0.9 ms a step against 2 ms eager and 1.2 ms captured"


def test_without_a_compiler_the_choice_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "no_compiler", lambda: "there is none")
    choice, step = made().choose(left=10**6, known=None, say=quiet)
    assert step.execution == "captured"
    assert choice.why.endswith("; it was not compiled: there is none")


def test_what_is_known_is_not_measured_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "step_seconds", None)
    monkeypatch.setattr(stepping, "recorded_seconds", None)
    known = Measured(torch.get_num_threads(), eager=1e-3, captured=5e-4, heavy=5e-4, nodes=10)
    choice, step = made().choose(left=100, known=known, say=quiet)
    assert (choice.execution, step.execution) == ("captured", "captured")
    assert choice.measured == known.decided("captured", 100)


def test_an_optimizer_without_a_rule_runs_eagerly_and_says_why() -> None:
    choice, step = made(optimizer={"name": "lbfgs"}).choose(left=5000, known=None, say=quiet)
    assert step.execution == "eager"
    assert (
        choice.why
        == "eager, 1 ms a step; the step cannot be captured: lbfgs has no rule, only the class that runs eagerly"
    )


class NotCopied(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[-1] * input_shape[-2], outputs)
        self.made = self.layer.weight * 2

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs.flatten(1))


def test_a_model_that_cannot_be_copied_runs_eagerly_and_says_why() -> None:
    said: list[str] = []
    choice, step = made(Objects(model=NotCopied)).choose(left=5000, known=None, say=said.append)
    assert (choice.execution, choice.measured, step.execution) == ("eager", None, "eager")
    (sentence,) = said
    assert sentence.startswith("the step cannot be captured: the model cannot be copied (RuntimeError: ")
    assert sentence.endswith(". It runs eagerly.")


class Writes(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[-1] * input_shape[-2], outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.layer(inputs.mul_(0.5).flatten(1))


def test_measuring_leaves_the_batches_of_a_trial_to_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    def timed(step: Any, batches: Any, device: Any) -> float:
        rows = step.upload([list(numbers) for _, numbers in batches])
        for (batch, _), row in zip(batches, rows, strict=True):
            step(batch, row)
        return 1e-3

    monkeypatch.setattr(stepping, "step_seconds", timed)
    monkeypatch.setattr(stepping, "recorded_seconds", lambda step: [step.rehearsal()(0), 6e-4][1])
    work, trials = made(Objects(model=Writes)), list[Any]()
    trial = Stepping.trial
    monkeypatch.setattr(Stepping, "trial", lambda self: trials.append(trial(self)) or trials[-1])
    _, step = work.choose(left=5000, known=None, say=quiet)
    assert step.execution == "captured"
    (used,) = trials  # data are read for it once
    for (batch, _), fresh in zip(used.batches, work.batches.start(START), strict=False):
        assert torch.equal(batch.inputs, fresh.inputs)


def test_one_thread_is_taken_where_it_is_as_fast(clock: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    threads = [2]
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads[0])
    monkeypatch.setattr(torch, "set_num_threads", lambda count: threads.__setitem__(0, count))
    choice, _ = made().choose(left=5000, known=None, say=quiet)
    assert (choice.threads, threads) == (1, [1])
    threads[0] = 2
    monkeypatch.setattr(stepping, "recorded_seconds", lambda step: 6e-4 * (3 - threads[0]))
    choice, _ = made().choose(left=5000, known=None, say=quiet)
    assert (choice.threads, threads) == (2, [2])


def test_hooks_on_gradients_are_refused() -> None:
    work = made()
    next(work.model.parameters()).register_post_accumulate_grad_hook(lambda p: None)
    with pytest.raises(NotRecordableError, match="hooks on gradients"):
        work.recorded("captured")


def test_statistics_are_computed_from_as_many_examples_as_they_need() -> None:
    work = made(dataset={"name": "digits"})
    sizes = [len(inputs) for inputs in calibration(work.batches)]
    assert sizes == [16] * work.batches.per_epoch  # an epoch has fewer than 10,000 examples
    first = next(iter(work.batches.start(START)))
    assert torch.equal(next(iter(calibrating(work.batches)())), first.inputs)


class Passes(IterableDataset[Any]):
    """A stream with one cursor for all who read it."""

    digest, classes = "passes", 2

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[Any]:
        self.at = 0
        return self

    def __next__(self) -> Any:
        if self.at == 24:
            raise StopIteration
        self.at += 1
        return torch.full((1, 4, 4), float(self.at)), self.at % 2


def streamed(**keys: Any) -> Workshop:
    valid = (torch.randn(8, 1, 4, 4), torch.arange(8) % 2)
    recipe = parse({**KEYS, "dataset": {"name": "stream"}, "batch_size": 8, "budget": {"steps": 12},
                    "model": {"name": "mlp", "width": 4, "norm": "batch"}, **keys})  # fmt: skip
    return Workshop(recipe, Objects(dataset={"train": Passes(), "valid": valid}))


def test_a_trial_leaves_a_stream_where_the_training_is() -> None:
    work = streamed()
    work.check()
    batches: Any = work.batches
    assert isinstance(batches, StreamBatches)
    batches.bookmark.number, batches.bookmark.began = 7, 21
    trial = work.stepping.trial()  # three batches, of which a pass has three: another pass is not begun
    assert len(trial.batches) == 3
    assert [inputs[0, 0, 0, 0].item() for inputs in list(calibration(batches))] == [1, 9, 17] * (
        work.batches.per_epoch // 3
    )
    assert (batches.bookmark.number, batches.bookmark.began) == (7, 21)


def test_averaged_weights_take_nothing_from_a_stream_that_is_being_read() -> None:
    work = streamed(average={"name": "swa", "start": 0.2, "every": 2}, execution="eager")
    work.check()
    engine = work.engine(Plan("solo", "eager", "cpu", 1, "2"), work.stepping.step("eager", quiet))
    stream = work.batches.start(START)
    rows = engine.upload(work.hypers.block(0, 5))
    seen: list[float] = []
    for hyper in rows:
        batch = next(stream)
        seen.append(batch.inputs[0, 0, 0, 0].item())
        engine.step(batch, hyper)
        if engine.has_average():
            engine.averaged_weights()
    stream.close()  # type: ignore[attr-defined]
    assert engine.has_average()
    assert seen == [1, 9, 17, 1, 9]


class Slow(Dataset[Any]):
    digest, classes = "slow", 2

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> Any:
        return torch.full((1, 4, 4), float(index)), index % 2


def test_workers_that_read_for_a_trial_are_stopped() -> None:
    import multiprocessing

    objects = Objects(dataset={"train": Slow(), "valid": Slow()})
    work = made(objects, dataset={"name": "map_style", "workers": 1}, batch_size=8)
    before = set(multiprocessing.active_children())
    trial = work.trial()
    assert len(trial.batches) == 3
    for _ in zip(range(2), calibration(work.batches), strict=False):
        pass
    assert set(multiprocessing.active_children()) <= before


class Reaching(nn.Module):
    """Has a function that holds the model itself: a copy of it trains the model's own parameter."""

    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[-1] * input_shape[-2], outputs)
        self.scale = nn.Parameter(torch.ones(outputs))
        self.act = lambda outputs: outputs * self.scale

    def forward(self, inputs: Tensor) -> Tensor:
        return self.act(self.layer(inputs.flatten(1)))


def timed_once(step: Any, batches: Any, device: Any) -> float:
    step(batches[0][0], step.upload([list(batches[0][1])])[0])
    return 1e-3


@pytest.mark.parametrize("way", ["auto", "captured"])
def test_trying_out_leaves_no_gradients_on_the_model(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "step_seconds", timed_once)
    work, said = made(Objects(model=Reaching)), list[str]()
    if way == "auto":
        _, step = work.choose(left=5000, known=None, say=said.append)
    else:
        step = work.step("captured", said.append)
    assert step.execution == "eager"
    assert all(parameter.grad is None for parameter in work.model.parameters())
    (sentence,) = said
    assert "the model itself" in sentence or "past the model" in sentence


NO_MEMORY = torch.OutOfMemoryError("CUDA out of memory.")


@pytest.mark.parametrize("at", ["the eager trial", "recording", "looking"])
def test_memory_that_runs_out_while_it_is_measured_ends_in_an_eager_run(
    at: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> Any:
        raise NO_MEMORY

    if at == "the eager trial":
        monkeypatch.setattr(stepping, "step_seconds", fails)
    elif at == "recording":
        monkeypatch.setattr("shoal.training.recorded.record", fails)
    else:
        monkeypatch.setattr(stepping, "recorded_seconds", fails)
    said: list[str] = []
    threads = torch.get_num_threads()
    choice, step = made().choose(left=5000, known=None, say=said.append)
    assert step.execution == choice.execution == "eager"
    assert "there is not enough memory to try it out beside the model" in f"{said} {choice.why}"
    assert torch.get_num_threads() == threads


def test_memory_that_runs_out_where_a_recording_is_asked_for_ends_in_an_eager_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: Any) -> Any:
        raise NO_MEMORY

    monkeypatch.setattr("shoal.training.recorded.outcome", fails)
    said: list[str] = []
    assert made().step("captured", said.append).execution == "eager"
    assert said == [
        "the step cannot be captured: there is not enough memory to try it out beside the model. It runs eagerly."
    ]


def test_a_short_training_is_short_for_every_seed(clock: dict[str, float]) -> None:
    choice, _ = made().choose(left=3900, known=None, say=quiet)
    assert choice.measured is not None
    clock["eager"] = 2e-3  # a machine that is busy while the next seed begins
    again, step = made().choose(left=3900, known=choice.measured, say=quiet)
    assert again == choice
    assert step.execution == "eager"
    other, _ = made().choose(left=60_000, known=choice.measured, say=quiet)  # which is measured
    assert other.execution == "captured"
