"""From a recipe to what performs its steps: the objective, the step in one execution or another, the choice among them.

`step` makes a step of the execution that a plan names, and falls back, with the reason in one sentence, where that
cannot be; `choose` measures which execution is fastest, unless the recipe says which.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import torch
from torch import nn

from shoal import optim, rng
from shoal.datasets import Batch, Batches, StreamBatches, beginning
from shoal.recipe import Recipe
from shoal.recipe.optimizer_parts import OptimizerPart
from shoal.training.compiled import NotCompilableError, no_compiler
from shoal.training.eager import EagerStep
from shoal.training.execution import (
    FEW_STEPS,
    LOOKING_SHARE,
    Choice,
    Measured,
    chosen,
    compared,
    is_short,
    recorded_seconds,
    step_seconds,
    worth_compiling,
)
from shoal.training.guard import Guard, Policy
from shoal.training.meter import Meter
from shoal.training.objective import Objective
from shoal.training.operations import heavy_share
from shoal.training.recorded import RecordedStep, Recording
from shoal.training.seams import Hypers
from shoal.training.solo import generators
from shoal.training.treatment import Treatment
from shoal.training.trial import NO_MEMORY, NotRecordableError, Trial, attempted, copied, double
from shoal.training.untouched import untouched

Step = EagerStep | RecordedStep
TRIAL_STEPS = 3
CALIBRATION_EXAMPLES = 10_000
"""Examples from which the statistics of batch norms are computed anew for averaged weights."""
KEPT_BYTES = 256 << 20
"""What is kept of a stream for that, at most."""


@dataclass(frozen=True)
class Stepping:
    """Everything that a run's steps are made of. `model` is trained; `build(model)` makes an optimizer over a model."""

    recipe: Recipe
    model: nn.Module
    objective: Objective
    hypers: Hypers
    batches: Batches
    total: int

    @property
    def part(self) -> OptimizerPart:
        """The optimizer's part of the recipe."""
        return self.recipe.optimizer  # pyright: ignore[reportReturnType]

    @property
    def device(self) -> torch.device:
        """Where the training runs."""
        return self.objective.device

    @property
    def policy(self) -> Policy:
        """What is done about a step that is bad."""
        guard = self.recipe.guard
        return Policy(guard.action, guard.spike, guard.limit)

    def treatment(self) -> Treatment:
        """What is done with gradients."""
        return Treatment(
            parts=self.recipe.accumulate,
            clip=optim.Clip.of(self.recipe.regularise),
            sam=self.recipe.regularise.sam,
            scaled=self.recipe.precision == "fp16",
        )

    def eager(self, model: nn.Module) -> EagerStep:
        """Return an eager step over a model, with an optimizer and a meter of its own."""
        optimizer = optim.build(self.part, model, self.device)
        meter = Meter(self.objective.task.metrics, self.device)
        return EagerStep(
            model,
            self.objective,
            optimizer,
            names=self.hypers.names,
            treatment=self.treatment(),
            meter=meter,
            guard=Guard(self.policy, self.device),
        )

    def recorded(self, execution: str, trial: Trial | None = None) -> RecordedStep:
        """Return a recorded step over the model; raises NotRecordableError or NotCompilableError.

        The model is as it was until the step is adopted.
        """
        rule = optim.rule_of(self.part)
        if rule is None:
            raise NotRecordableError(f"{self.part.name} has no rule, only the class that runs eagerly")
        if _has_gradient_hooks(self.model):
            raise NotRecordableError("the model has hooks on gradients, which a recording would leave out")
        groups = tuple(optim.named_groups(self.part, self.model))
        recording = Recording(
            rules={group.rest: optim.rule_of(self.part, rest=group.rest) or rule for group in groups},
            groups=groups,
            fixed=optim.hypers_of(self.part),
            renamed={name: optim.hyper_name(self.part, name) for name in self.hypers.recorded},
        )
        with attempted(), untouched(self.model):
            return RecordedStep(
                self.eager(self.model),
                recording,
                twin=self.eager,
                trial=trial or self.trial(),
                execution=execution,
                averaged=self.recipe.average.name == "ema",
            )

    def trial(self) -> Trial:
        """The first batches of the training with their hypers."""
        with beginning(self.batches) as stream:
            first: list[Batch] = list(islice(stream, min(TRIAL_STEPS, self.total)))
        rows = self.hypers.block(0, len(first))[:, 0, :].tolist()
        pairs: list[tuple[Batch, Sequence[float]]] = list(zip(first, rows, strict=True))
        return Trial(pairs, rng.StepSeeds(self.recipe.seed), generators(self.device))

    def step(self, execution: str, say: Callable[[str], None]) -> Step:
        """Return a step of an execution, or of the nearest one that can be, saying why."""
        instead = {"compiled": ("compiled", "captured"), "captured": ("captured",)}
        why = ""
        for tried in instead.get(execution, ()):
            try:
                step = self.recorded(tried)
            except (NotRecordableError, NotCompilableError) as reason:
                why = str(reason)
                self._release(reason)
                continue
            if tried != execution:
                say(f"the step is not {execution}: {why}. It runs {tried}.")
            return step
        if why:
            say(f"the step cannot be {execution}: {why}. It runs eagerly.")
        return self.eager(self.model)

    def choose(self, *, left: int, known: Measured | None, say: Callable[[str], None]) -> tuple[Choice, Step]:
        """Return which execution to take for `left` steps, measuring what is not known, and the step itself."""
        made: dict[str, Step] = {}
        choice = self._choose(left, known, made, say)
        return choice, made.get(choice.execution) or self.step(choice.execution, say)

    def _choose(self, left: int, known: Measured | None, made: dict[str, Step], say: Callable[[str], None]) -> Choice:
        threads = torch.get_num_threads()
        if known is not None and known.eager is not None and not (known.short and known.taken_for(left) is None):
            measured = known
            torch.set_num_threads(measured.threads)
        else:
            if left < FEW_STEPS:
                return Choice("eager", threads, f"eager; {left:,} steps are too few to measure")
            trial = self.trial()
            try:
                with attempted(), untouched(self.model):
                    eager = self._eager_seconds(trial)
            except NotRecordableError as reason:
                self._release(reason)
                say(f"the step cannot be captured: {reason}. It runs eagerly.")
                return Choice("eager", threads, "eager; nothing else was measured")
            if is_short(eager, left, sum(1 for _ in self.model.parameters())):
                return chosen(Measured(threads, eager=eager).decided("eager", left), left)
            measured = self._measured(eager, left, trial, made)
        if measured.taken_for(left) is None and measured.compiled is None and worth_compiling(measured, left):
            measured = self._with_compiled(measured, made, left)
        return chosen(measured, left, ready="compiled" in made)

    def _release(self, reason: BaseException) -> None:
        """Give memory back to the device where there was not enough: what failed still holds what it had."""
        if str(reason) != NO_MEMORY:
            return
        for error in (reason, reason.__cause__, reason.__context__):
            traceback.clear_frames(error.__traceback__ if error is not None else None)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _eager_seconds(self, trial: Trial) -> float:
        with rng.preserved():
            batches = [(copied(batch), numbers) for batch, numbers in trial.batches]
            return step_seconds(self.eager(double(self.model)), batches, self.device)

    def _measured(self, eager: float, left: int, trial: Trial, made: dict[str, Step]) -> Measured:
        """Measure a captured step beside an eager one, on all threads and on one; `eager` is what was seen so far."""
        threads = torch.get_num_threads()
        try:
            captured = made["captured"] = self.recorded("captured", trial)
        except NotRecordableError as reason:
            self._release(reason)
            return Measured(threads, eager=eager, refused=str(reason))
        numbers = (1, threads) if self.device.type == "cpu" and threads > 1 else (threads,)
        looks: dict[tuple[int, str], Callable[[], float]] = {}
        for number in numbers:
            looks[number, "captured"] = partial(_on, number, lambda: recorded_seconds(captured))
            looks[number, "eager"] = partial(_on, number, lambda: self._eager_seconds(trial))
        started = threads
        try:
            with rng.preserved(), attempted():
                taken = compared(looks, seconds=LOOKING_SHARE * eager * left)
                threads, _ = min(taken, key=taken.__getitem__)
                torch.set_num_threads(threads)
                share = heavy_share(captured.operations())
        except NotRecordableError as reason:
            torch.set_num_threads(started)
            made.clear()
            del captured, looks
            self._release(reason)
            return Measured(started, eager=eager, refused=str(reason))
        seconds, eager = taken[threads, "captured"], taken[threads, "eager"]
        nodes = len(captured.graph.graph.nodes)
        return Measured(threads, eager=eager, captured=seconds, heavy=share * seconds, nodes=nodes)

    def _with_compiled(self, measured: Measured, made: dict[str, Step], left: int) -> Measured:
        """Compile, and measure it; what is captured takes turns with it, for a machine's speed drifts meanwhile."""
        missing = no_compiler() if self.device.type == "cpu" else None
        if missing is not None:
            return replace(measured, not_compiled=missing)
        try:
            compiled = self.recorded("compiled")
            steps = {"compiled": compiled, "captured": made.get("captured")}
            looks = {
                name: partial(recorded_seconds, step) for name, step in steps.items() if isinstance(step, RecordedStep)
            }
            with rng.preserved(), attempted():
                taken = compared(looks, seconds=LOOKING_SHARE * measured.best[1] * left)
        except (NotRecordableError, NotCompilableError) as reason:
            self._release(reason)
            return replace(measured, not_compiled=str(reason))
        made["compiled"] = compiled
        measured = replace(measured, compiled=taken["compiled"], compile_seconds=compiled.compile_seconds)
        return measured.captured_now(taken["captured"]) if "captured" in taken else measured


def calibration(batches: Batches) -> Iterator[torch.Tensor]:
    """Yield the inputs of some batches of train: as many as averaged weights need for their statistics."""
    size = 0
    with beginning(batches) as stream:
        for number, batch in enumerate(stream, 1):
            yield batch.inputs
            size += batch.size
            if size >= CALIBRATION_EXAMPLES or number >= batches.per_epoch:
                return


def calibrating(batches: Batches) -> Callable[[], Iterable[torch.Tensor]]:
    """Return what yields the inputs for averaged weights' statistics, as often as it is called, beside the training.

    A stream may have one cursor for all who read it: what is needed of it is read now, before the training, and kept.
    """
    if not isinstance(batches, StreamBatches):
        return lambda: calibration(batches)
    kept, size = list[torch.Tensor](), 0
    for inputs in calibration(batches):
        kept.append(inputs)
        size += inputs.nbytes
        if size >= KEPT_BYTES:
            break
    return lambda: kept


def _on(threads: int, look: Callable[[], float]) -> float:
    torch.set_num_threads(threads)
    return look()


def _has_gradient_hooks(model: nn.Module) -> bool:
    """Whether parameters have hooks on their gradients, which only `backward` calls."""
    hooks = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(getattr(parameter, kind, None) for parameter in model.parameters() for kind in hooks)
