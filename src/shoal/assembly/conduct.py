"""The life of one run: found or created by identity, locked, resumed, trained, tested, recorded.

A finished run is not trained again. A failed, stopped or killed one continues from its last checkpoint. Whatever
ends a training, `run.json` says what and why.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from shoal.assembly import samples
from shoal.assembly.attempt import begun, claimed, finished
from shoal.assembly.build import Workshop, data_path
from shoal.assembly.copies import Copies, check_copies
from shoal.assembly.decisions import Decision, accumulate, couples, halve, recorded, rewind, spent, told
from shoal.assembly.defaults import defaults_since
from shoal.assembly.devices import determinism, gradients
from shoal.assembly.ending import failed, now, stopped
from shoal.assembly.heap import keep_heap
from shoal.assembly.launch import refuse_ranks, refuse_repeating
from shoal.assembly.layout import laid_out
from shoal.assembly.measurements import remember, remembered
from shoal.assembly.objects import Objects
from shoal.assembly.recipe_file import put_back, write_recipe
from shoal.assembly.recorder import RunRecorder, writing
from shoal.assembly.remarks import remarks
from shoal.assembly.screen import Screen
from shoal.assembly.stepping import Step
from shoal.assembly.warm import Warm
from shoal.datasets import StreamBatches
from shoal.errors import NonFiniteError, OutOfMemoryError
from shoal.recipe import Recipe
from shoal.recipe.flat import hyperparameters
from shoal.recipe.said import differences
from shoal.recipe.scaling import sentences
from shoal.rng import preserved
from shoal.store import RunFolder, RunId, RunLock, record, sweep
from shoal.store.provenance import command
from shoal.training import BestWeights, Callback, Ending, Pulse, Row, SoloEngine, fit
from shoal.training.evaluation import as_row
from shoal.training.interruption import Watched
from shoal.training.plan import Plan, decide, threads_kept
from shoal.training.precision import matmul_precision
from shoal.training.pulse import Interrupted
from shoal.training.recorded import RecordedStep
from shoal.training.seams import AVERAGED, Weights

NOTICED = 2.0
"""Seconds of preparation that are told: recording and compiling are no part of a training's seconds."""


def conduct(
    recipe: Recipe,
    objects: Objects = Objects(),
    *,
    runs: Path,
    screen: Screen,
    again: bool = False,
    warm: Warm | None = None,
) -> RunFolder:
    """Train a run, or continue it, or return at once where it is finished; `status` is in its record.

    `warm` is what a process that trains many runs keeps from one to the next.

    Raises InputError before anything is written, LiveRunError where another process trains it, and what training
    raised, once `run.json` says so. A run that was asked to stop returns with the status 'stopped'.
    """
    refuse_ranks()
    check_copies(recipe.log)
    pulse = Pulse()
    keep_heap()
    with preserved(), threads_kept(), gradients(), determinism(recipe.deterministic):
        warm = warm or Warm(runs)
        workshop = Workshop(recipe, objects, runs, shelf=warm.shelf)
        workshop.check()
        run = RunId(recipe.name, workshop.signature, recipe.seed)
        if not again and (known := finished(runs, run)) is not None:
            put_back(known, screen)
            return known
        folder = claimed(runs, run, again=again, say=screen.say)
        with RunLock(folder):
            if record.read(folder).get("status") != "finished":  # it may have finished since it was found
                refuse_repeating(folder)
                with pulse.listening():  # until here Ctrl-C ends the process: data that take long can be interrupted
                    _train_locked(workshop, folder, screen, pulse, warm)
    return folder


def _train_locked(workshop: Workshop, folder: RunFolder, screen: Screen, pulse: Pulse, warm: Warm) -> None:
    sweep(folder)
    screen.attach(folder)
    recorder = None
    try:
        if not record.read(folder):
            known, path = warm.known, data_path(workshop.recipe)
            said = known.changes_since(workshop.identity, workshop.recipe.seed, path=path)
            words = command(warm.command)
            if sentence := said or defaults_since(known, workshop.recipe, workshop.identity, command=words):
                screen.say(sentence)
        with matmul_precision(workshop.recipe.precision):  # under which a step is recorded too
            with pulse.waited():
                recorder, *engine = _open(workshop, folder, screen, warm)
            _train(workshop, folder, recorder, engine.pop(), screen, pulse)  # it is held nowhere else
    except Interrupted:
        stopped(folder, screen, f"stopped by {pulse.asked} before the first step", by=pulse.asked, new_steps=0)
    except BaseException as error:
        failed(folder, recorder, screen, error)
        raise
    else:  # the run is finished and recorded: nothing that happens here can fail it
        if recorder.copies.events is not None and record.read(folder).get("status") == "finished":
            _complete_board(workshop, folder, recorder, screen)
    finally:
        if recorder is not None:
            recorder.close()
        screen.close()


def _plan(workshop: Workshop, before: Mapping[str, Any], screen: Screen) -> tuple[Plan, Step]:
    """Return how the steps are executed on this machine, repeating a recorded plan, and what performs them."""
    asked, stepping = workshop.recipe.execution, workshop.stepping
    recorded: dict[str, Any] = before.get("plan") or {}
    plan = decide(workshop.device, execution=asked, recorded=recorded)
    if workshop.recipe.channels_last == "auto" and recorded:
        laid_out(workshop.model, channels_last=bool(recorded.get("channels_last")))
    if asked != "auto":
        step = stepping.step(asked, screen.say)
    elif recorded:
        step = stepping.step(str(recorded["execution"]), screen.say)
    else:
        threads = torch.get_num_threads()
        pixels = workshop.channels_last
        known = remembered(workshop.signature, workshop.device, threads=threads, channels_last=pixels)
        choice, step = stepping.choose(left=workshop.agenda.total, known=known, say=screen.say)
        if choice.measured is not None and choice.measured != known:
            remember(workshop.signature, workshop.device, choice.measured, threads=threads, channels_last=pixels)
        short = choice.measured is None or choice.measured.short
        (screen.detail if short else screen.say)(f"execution: {choice.why}")
    if asked == "auto" and isinstance(step, RecordedStep):
        step.otherwise = screen.say
    plan = replace(
        plan, execution=step.execution, threads=torch.get_num_threads(), channels_last=workshop.channels_last
    )
    for difference in plan.differences(recorded):
        screen.say(f"the plan cannot be repeated ({difference}): from here on the run is the same to rounding only.")
    return plan, step


def _open(workshop: Workshop, folder: RunFolder, screen: Screen, warm: Warm) -> tuple[RunRecorder, SoloEngine]:
    """Record what is about to be trained, and with what."""
    recipe, before = workshop.recipe, record.read(folder)
    workshop.decisions[:] = recorded(before)
    workshop.left_out.load(before)
    began = time.monotonic()
    plan, step = _plan(workshop, before, screen)
    if (took := time.monotonic() - began) >= NOTICED:
        screen.say(f"preparing the {plan.execution} step took {took:.0f} s")
    named = recipe.model_copy(update={"name": str(before.get("name", recipe.name))})
    begun(
        folder,
        plan,
        warm,
        name=named.name,
        signature=workshop.signature,
        seed=recipe.seed,
        total_steps=workshop.agenda.total,
        steps_per_epoch=workshop.agenda.per_epoch,
        parameters=sum(p.numel() for p in workshop.model.parameters()),
        identity=workshop.identity,
        recipe=named.mapping(),
        said=differences(recipe),
        data=_data_facts(workshop),
        scaled=[asdict(change) for change in workshop.changes] or None,
    )
    write_recipe(folder, named.mapping(), screen, before=record.recipe(before))  # after the record: never without one
    points = workshop.agenda.point
    recorder = RunRecorder(
        folder,
        recipe.checkpoint,
        screen,
        copies=Copies(folder, recipe.log, hyperparameters(recipe), screen.say),
        batch_size=workshop.batch_size,
        points=points,
        left_out=workshop.left_out,
    )
    return recorder, workshop.engine(plan, step)


def _train(
    workshop: Workshop, folder: RunFolder, recorder: RunRecorder, engine: SoloEngine, screen: Screen, pulse: Pulse
) -> None:
    callbacks = workshop.callbacks()
    at, loaded = recorder.resume(engine, callbacks, workshop.decisions)
    first = at.step
    _introduce(workshop, folder, engine, screen, first if loaded else None)
    if loaded is None:
        recorder.first_save(engine, callbacks)
    elif isinstance(workshop.batches, StreamBatches):
        screen.say(workshop.batches.skipping(at))
    recorder.begin(workshop.began)
    screen.begin(step=at.step, total=workshop.agenda.total)
    while True:
        try:
            ending = fit(
                engine,
                workshop.batches,
                hypers=workshop.hypers,
                agenda=workshop.agenda,
                recorder=recorder,
                pulse=pulse,
                evaluation=workshop.evaluation("valid"),
                callbacks=callbacks,
                at=at,
                due=loaded is not None and bool(loaded.meta.get("due")),
            )
            break
        except (NonFiniteError, OutOfMemoryError) as error:
            decision = _decision(error, workshop)
            if decision is None:
                raise
        _record_decision(decision, workshop, folder, screen)  # by now nothing holds what the error's traceback held
        if decision.accumulate is not None:
            plan = engine.plan
            del engine
            gc.collect()
            if workshop.device.type == "cuda":
                torch.cuda.empty_cache()
            engine = workshop.engine(plan, workshop.stepping.step(plan.execution, screen.say))
        at, loaded = recorder.resume(engine, callbacks, workshop.decisions)
        screen.begin(step=at.step, total=workshop.agenda.total)
    screen.end()
    recorder.settle()
    if ending.kind != "interrupted":
        try:
            return _finish(workshop, folder, engine, recorder, callbacks, ending, pulse)
        except Interrupted:
            ending = replace(ending, reason=f"stopped by {pulse.asked} while it was tested")
    times = recorder.times(workshop.began, evaluation=engine.evaluation_seconds)
    facts = {"steps": ending.at.step, "seconds": recorder.seconds, "times": times}
    stopped(folder, screen, ending.reason, by=pulse.asked, new_steps=ending.at.step - first, **facts)
    return None


def _decision(error: NonFiniteError | OutOfMemoryError, workshop: Workshop) -> Decision | None:
    """Return how training goes on after an error; None where it ends with it."""
    guard, decisions = workshop.recipe.guard, workshop.decisions
    if isinstance(error, NonFiniteError):
        decision = rewind(error, guard, workshop.agenda.point, decisions)
        if decision is None and error.step is not None and guard.action == "rewind":
            raise spent(error, decisions) from error
        return decision
    layer = couples(workshop.model)
    if layer is not None and error.step is not None:
        helpless = " guard.memory=halve cannot help:" if guard.memory == "halve" else ""
        raise OutOfMemoryError(
            f"memory ran out at step {error.step:,}.{helpless} {layer} is a batch norm, whose statistics are those of "
            "the whole batch, so that a gradient in parts would be another one. Take a smaller batch_size or model, or "
            "precision=bf16; or model.norm=group or layer where the model has it, with accumulate=2 or more.",
            step=error.step,
        ) from error
    return halve(error, guard, workshop.batch_size, accumulate(decisions, workshop.recipe.accumulate))


def _record_decision(decision: Decision, workshop: Workshop, folder: RunFolder, screen: Screen) -> None:
    """Record a decision, which from then on holds."""
    screen.end()
    workshop.decisions.append(decision)
    with writing(folder):
        record.update(folder, guard=[each.plain() for each in workshop.decisions])
    screen.say(told(workshop.decisions))


def _finish(
    workshop: Workshop,
    folder: RunFolder,
    engine: SoloEngine,
    recorder: RunRecorder,
    callbacks: list[Callback],
    ending: Ending,
    pulse: Pulse,
) -> None:
    """Test the weights that count, and record the result."""
    best = next((c for c in callbacks if isinstance(c, BestWeights) and c.step is not None), None)
    if recorder.last.get("step") != ending.at.step:  # its row was taken out of the history
        _measure_again(workshop, engine, recorder, ending.at.step, pulse)
    measured: Mapping[str, Any] = best.metrics if best else recorder.last
    metrics = {name: value for name, value in measured.items() if "." in name}
    counted: Weights = "best" if best else "average" if engine.has_average() else "raw"
    test = workshop.evaluation("test")
    if test is not None:
        seen, final = samples.observer(workshop, "test"), dict[str, float]()
        batches = Watched(test.batches, pulse)
        if counted == "average":
            (raw,) = engine.evaluate(batches)
            final |= as_row("test", raw)
        (result,) = engine.evaluate(batches, weights=counted, observer=seen)
        final |= as_row(f"test{AVERAGED}" if counted == "average" else "test", result)
        recorder.rows([Row(0, ending.at.step, ending.at.step / workshop.agenda.per_epoch, final)])
        metrics |= final
        if seen is not None:
            _keep_samples(workshop, folder, recorder, seen, split="test", weights=counted)
    elif (valid := workshop.evaluation("valid")) and (seen := samples.observer(workshop, "valid")):
        engine.evaluate(Watched(valid.batches, pulse), weights=counted, observer=seen)
        _keep_samples(workshop, folder, recorder, seen, split="valid", weights=counted)
    facts: dict[str, Any] = {
        "status": "finished",
        "reason": ending.reason,
        "steps": ending.at.step,
        "epochs": ending.at.step / workshop.agenda.per_epoch,
        "metrics": metrics,
        "best": {"metric": best.metric, "value": best.value, "step": best.step} if best else None,
        "seconds": recorder.seconds,
        "times": recorder.times(workshop.began, evaluation=engine.evaluation_seconds),
        "skipped_updates": engine.skipped(),
    }
    with writing(folder):
        recorder.history.sync()
        record.conclude(folder, **facts, finished=now())
    if (skips := engine.skips()[0]) is not None:
        recorder.screen.say(
            f"{skips.updates:,} of {ending.at.step:,} updates were left out (guard.action=skip), the last at step "
            f"{skips.last:,}: look at its examples in run.json (skipped_steps)"
        )
    if skipped := engine.skipped():
        recorder.screen.say(
            f"{skipped:,} of {ending.at.step:,} updates were skipped: their gradients overflowed in fp16"
        )


def _measure_again(workshop: Workshop, engine: SoloEngine, recorder: RunRecorder, step: int, pulse: Pulse) -> None:
    """Write the last row again, without train metrics, which were those of steps that are gone."""
    found = dict[str, float]()
    if (valid := workshop.evaluation("valid")) is not None:
        kinds: dict[str, Weights] = {"valid": "raw"}
        kinds |= {f"valid{AVERAGED}": "average"} if engine.has_average() else {}
        for name, weights in kinds.items():
            (result,) = engine.evaluate(Watched(valid.batches, pulse), weights=weights)
            found |= as_row(name, result)
    recorder.rows([Row(0, step, step / workshop.agenda.per_epoch, found)])


def _keep_samples(
    workshop: Workshop,
    folder: RunFolder,
    recorder: RunRecorder,
    seen: samples.Observer,
    *,
    split: str,
    weights: Weights,
) -> None:
    """Write what pages show of predictions; a trained run does not fail for want of it."""
    try:
        samples.write(folder, seen, workshop.data, split=split, weights=weights)
    except OSError as error:
        recorder.screen.say(f"no sample predictions could be written to {folder.samples}: {error.strerror or error}")


def _complete_board(workshop: Workshop, folder: RunFolder, recorder: RunRecorder, screen: Screen) -> None:
    """Write what TensorBoard shows beside the history."""
    from shoal.assembly.board import complete  # noqa: PLC0415 imports tensorboard, which takes 0.3 s

    copies, events = recorder.copies, recorder.copies.events
    assert events is not None
    copies.to_board(lambda: complete(events, folder, workshop, workshop.objects, screen.say))
    if copies.events is not None:
        screen.say(f"for TensorBoard: tensorboard --logdir {folder.path.parent.parent}")


def _introduce(workshop: Workshop, folder: RunFolder, engine: SoloEngine, screen: Screen, resumed: int | None) -> None:
    """Say what is trained, on what, where."""
    recipe, data, agenda = workshop.recipe, workshop.data, workshop.agenda
    sizes = ", ".join(f"{data.sizes[split]:,} {split}" if split in data.sizes else split for split in data.splits)
    count = sum(p.numel() for p in workshop.model.parameters())
    screen.say(f"{recipe.model.name} ({count:,} parameters) on {recipe.dataset.name} ({sizes})")
    told = remarks(recipe, data, workshop.batch_size)
    for note in (*data.notes, *workshop.start.report, *sentences(workshop.changes), *told):
        screen.say(note)
    plan = engine.plan
    where = f"{plan.device}, {plan.threads} thread{'s' * (plan.threads != 1)}, {plan.execution}"
    where += f", {recipe.precision}" if recipe.precision != "fp32" else ""
    epoch = f", {agenda.per_epoch:,} an epoch" if "train" in data.sizes else ""
    screen.say(f"{agenda.total:,} steps of {workshop.batch_size:,} examples{epoch}; {where}")
    screen.detail(f"torch {plan.torch}; signature {workshop.signature}; digests {workshop.digests}")
    verb = "training" if resumed is None else f"resuming at step {resumed:,}:"
    screen.say(f"{verb} {folder.label} in {folder.path}")


def _data_facts(workshop: Workshop) -> dict[str, Any]:
    data = workshop.data
    return {
        "name": workshop.recipe.dataset.name,
        "digest": data.digest,
        "path": data_path(workshop.recipe),
        "sizes": data.sizes,
        "input_shape": list(data.input_shape),
        "target_shape": list(data.target_shape),
        "classes": data.classes,
        "multilabel": data.multilabel,
        "outputs": workshop.task.outputs,
        "normalisation": data.normalisation.to_plain() if data.normalisation else None,
        "notes": list(data.notes),
        "labels": list(data.labels) if data.labels else None,
        "encoding": dict(data.encoding) if data.encoding else None,
    }
