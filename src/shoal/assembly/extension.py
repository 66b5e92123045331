"""A run with a longer budget that begins where a shorter one stands, where the two are one training up to there.

It is a run of its own, with the identity that its recipe has, and ends as it would have from the start, bit for bit,
under the same plan. The run that it continues stays as it is.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoal.assembly.agreement import Agreement, agreement, budget_in_words
from shoal.assembly.build import Workshop
from shoal.assembly.conduct import conduct
from shoal.assembly.decisions import DECISIONS, POINT, recorded
from shoal.assembly.defaults import TRAIN
from shoal.assembly.devices import determinism, gradients
from shoal.assembly.meaning import differences
from shoal.assembly.missing import refuse_missing
from shoal.assembly.objects import Objects
from shoal.assembly.screen import Screen
from shoal.assembly.testing import with_path
from shoal.assembly.trained import recipe_of
from shoal.checkpoints import Loaded, load
from shoal.errors import CheckpointError, InputError, LiveRunError, StoreError, nearest
from shoal.files import sync_folder, writable_folder, write_atomic
from shoal.recipe import Recipe, parse
from shoal.recipe.compose import apply
from shoal.rng import preserved
from shoal.store import RunFolder, RunId, RunLock, find, is_live, record
from shoal.store.checkpoint_files import candidates, manifest_of, step_of
from shoal.store.folder import open_runs
from shoal.store.lock import refusal
from shoal.store.moving import adopt, copy_durably
from shoal.training.plan import threads_kept

BUDGET = ("budget.epochs", "budget.steps")
TAKEN_OVER = ("parameters", "data", "plan", "replanned", "left_out", "skipped_steps", "steps_per_epoch")
"""What the longer run's record has from the shorter one's, beside its decisions."""


def extend(
    folder: RunFolder,
    changes: Sequence[tuple[str, Any]],
    objects: Objects = Objects(),
    *,
    runs: Path,
    screen: Screen,
) -> RunFolder:
    """Train a run's recipe under a longer budget, from the newest checkpoint that the longer training would have too.

    `changes` are `budget.epochs` or `budget.steps` with a value. Raises InputError where there is nothing to go on
    from, with the first step at which the two trainings differ and why, LiveRunError where either is being trained.
    """
    _check(changes)
    facts = record.read(folder)
    if is_live(folder):
        raise LiveRunError(refusal(folder))
    data: Mapping[str, Any] = facts.get("data") or {}
    recipe = with_path(recipe_of(folder), data.get("path"))
    refuse_missing(folder, recipe, objects, facts, then=".extend(...)")
    longer = parse(apply(recipe.mapping(), changes))
    with preserved(), threads_kept(), gradients(), determinism(recipe.deterministic):
        one = Workshop(recipe, objects, runs)
        _refuse_another_meaning(folder, facts, one)
        other = one.beside(longer)
        other.check()
        if other.signature == one.signature:
            raise InputError(
                f"{budget_in_words(longer)}: that is the budget of {folder.label} already: expected a longer one. The "
                "command that it was started with continues it as it is."
            )
        if find(runs, other.signature, longer.seed) is None:
            with RunLock(folder):
                _begin(folder, record.read(folder), _Pair(one, other), screen)
    del one, other  # the trainings' memory is theirs
    return conduct(longer, objects, runs=runs, screen=screen)


@dataclass(frozen=True)
class _Pair:
    """The training that is there, and the longer one."""

    one: Workshop
    other: Workshop


def _check(changes: Sequence[tuple[str, Any]]) -> None:
    """Raise InputError for anything but a budget: with that changed, it would be another experiment."""
    if not changes:
        raise InputError("how long? Give the new budget, as in budget.epochs=20 or budget.steps=5000.")
    for key, _ in changes:
        if key.partition(".")[0] != "budget":
            close = nearest(key, (*BUDGET, "epochs", "steps"))
            hint = f"did you mean {close if close in BUDGET else f'budget.{close}'}? " if close else ""
            raise InputError(
                f"{key}: {hint}Only the budget can be extended. With another {key} it is another experiment: shoal "
                f"train ... {key}=VALUE, with init.from=RUN to start from the weights of this one."
            )


def _refuse_another_meaning(folder: RunFolder, facts: Mapping[str, Any], workshop: Workshop) -> None:
    """Raise InputError where the code or data of the run are not those that it was trained with."""
    if workshop.signature == facts.get("signature"):
        return
    found = differences(facts.get("identity") or {}, workshop.identity)
    said = "; ".join(difference.said for difference in found) or "its recipe has another signature now"
    raise InputError(
        f"{folder.label} cannot be continued as it began: {said}. Where that changes nothing of the result, say so: "
        f"shoal migrate {folder.label}. Else train it anew."
    )


def _begin(folder: RunFolder, facts: Mapping[str, Any], pair: _Pair, screen: Screen) -> None:
    """Make the folder of the longer run, which stands where the shorter one did."""
    made = max((step_of(path) for path in candidates(folder.checkpoints)), default=0)
    total, longer = pair.other.agenda.total, pair.other.recipe
    if not made:
        raise InputError(
            f"{folder.label} has made no step that was saved: there is nothing to extend. {_anew(facts, longer)}"
        )
    if total <= made:
        raise InputError(
            f"{folder.label} has made {made:,} steps, and a budget of {budget_in_words(longer)} is no more than that. "
            f"A shorter training is a run of its own. {_anew(facts, longer)}"
        )
    agreed = agreement(pair.one, pair.other, made)
    loaded = _newest(folder, agreed, screen)
    if loaded is None:
        raise InputError(_no_checkpoint(folder, agreed, made, _anew(facts, longer)))
    _refuse_stopped(folder, pair.other, loaded)
    if loaded.step < made:
        reason = agreed.reason or "its newer checkpoints are damaged"
        screen.say(f"{reason}: of the {made:,} steps of {folder.label}, {loaded.step:,} are taken over")
    run = RunId(longer.name, pair.other.signature, longer.seed)
    open_runs(writable_folder(pair.other.runs))
    prepared = RunFolder(pair.other.runs / f".{folder.path.parent.name}-{folder.path.name}.extending")
    shutil.rmtree(prepared.path, ignore_errors=True)  # of one that was killed here: only the holder of the lock comes
    _prepare(prepared, folder, loaded, pair.other, facts)
    place = adopt(pair.other.runs, run, prepared.path)
    shutil.rmtree(prepared.path, ignore_errors=True)
    screen.say(f"extending {folder.label} from step {loaded.step:,} to {total:,}: {place.label}")


def _newest(folder: RunFolder, agreed: Agreement, screen: Screen) -> Loaded | None:
    """The newest checkpoint that both trainings have, and that can be trusted."""
    for path in candidates(folder.checkpoints):
        try:
            if agreed.holds(step_of(path), due=bool(manifest_of(path).get("due"))) and step_of(path):
                return load(path)
        except CheckpointError as error:
            screen.say(f"a damaged checkpoint was passed over: {error}")
    return None


def _refuse_stopped(folder: RunFolder, workshop: Workshop, loaded: Loaded) -> None:
    """Raise InputError for a run that stopped early: it would under any budget."""
    callbacks = workshop.callbacks()
    with loaded.understood():
        for callback in callbacks:
            callback.load_state_dict(loaded.states["callbacks"][callback.name])
    reason = next((said for callback in callbacks if (said := callback.stop())), None)
    if reason is not None:
        raise InputError(
            f"{folder.label} ended at step {loaded.step:,}, before its budget was spent ({reason}), and so it would "
            "under any longer one. Another patience is another experiment: shoal train ... early_stop.patience=N."
        )


def _prepare(
    prepared: RunFolder, folder: RunFolder, loaded: Loaded, workshop: Workshop, facts: Mapping[str, Any]
) -> None:
    """Write all that the longer run has at that step into a folder that nobody looks at."""
    prepared.checkpoints.mkdir(parents=True)
    for path in _taken_over(folder, loaded, points=workshop.agenda.point.interval is not None):
        copy_durably(path, prepared.checkpoints / path.name)
    for source, target in ((folder.history, prepared.history), (folder.timing, prepared.timing)):
        write_atomic(
            target, _beginning(source, int(loaded.meta[f"{source.stem}_bytes"]), lenient=source == folder.timing)
        )
    recipe, decisions = workshop.recipe, recorded(facts)[: int(loaded.meta.get(DECISIONS, 0))]
    write_atomic(prepared.recipe, recipe.to_yaml())
    record.update(
        prepared,
        name=recipe.name,
        signature=workshop.signature,
        seed=recipe.seed,
        status="stopped",
        reason=f"extended from {folder.label}, and not yet gone on with",
        steps=loaded.step,
        total_steps=workshop.agenda.total,
        identity=workshop.identity,
        guard=[decision.plain() for decision in decisions] or None,
        extended_from={"run": folder.label, "signature": facts["signature"], "step": loaded.step},
        **{key: facts[key] for key in TAKEN_OVER if facts.get(key) is not None},
    )
    sync_folder(prepared.checkpoints)


def _taken_over(folder: RunFolder, loaded: Loaded, *, points: bool) -> list[Path]:
    """The checkpoint, and the points before it that a rewind may go back to."""
    older = [path for path in candidates(folder.checkpoints) if step_of(path) < loaded.step] if points else []
    return [loaded.folder, *(path for path in older if POINT in manifest_of(path))]


def _beginning(path: Path, size: int, *, lenient: bool) -> bytes:
    """The first bytes of a journal; raises StoreError where rows were lost that nothing can replace."""
    content = path.read_bytes() if path.is_file() else b""
    if len(content) < size and not lenient:
        raise StoreError(
            f"{str(path)!r} has {len(content):,} bytes and the checkpoint was saved at {size:,}: rows were lost since. "
            "Restore the file, or train the longer run from the start."
        )
    return content[:size]


def _no_checkpoint(folder: RunFolder, agreed: Agreement, made: int, anew: str) -> str:
    steps = ", ".join(f"{step_of(path):,}" for path in reversed(candidates(folder.checkpoints)))
    return (
        f"{folder.label} has made {made:,} steps, and the longer training would not begin with them: {agreed.reason}. "
        f"None of its checkpoints is from before that (steps {steps}; checkpoint.every and checkpoint.keep keep more). "
        f"A constant rate, with or without warm-up, a plateau, or wsd before its decay can "
        f"be extended. {anew}"
    )


def _anew(facts: Mapping[str, Any], recipe: Recipe) -> str:
    """How the longer run is trained from the start."""
    epochs, steps = recipe.budget.epochs, recipe.budget.steps
    budget = f"budget.steps={steps}" if steps is not None else f"budget.epochs={epochs:g}"
    provenance: Mapping[str, Any] = facts.get("provenance") or {}
    command = str(provenance.get("command") or "")
    words = command if command.startswith(TRAIN) else "shoal train ..."
    return f"To train it from the start: {words} {budget}"
