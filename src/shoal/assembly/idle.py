"""Keys that would do nothing beside the others of a recipe: who sets one means it, so they are refused before training.

Only what can matter at no step is refused. The parts themselves allow it: the runs of one stack may differ in whether
they have a momentum.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from shoal.errors import RecipeError
from shoal.recipe import Recipe
from shoal.recipe.optimizer_parts import OptimizerPart, Sgd
from shoal.recipe.schedule_parts import Plateau
from shoal.recipe.schema import EarlyStop, Guard
from shoal.schedules.drops import passed
from shoal.schedules.span import LONGER
from shoal.training import Agenda


def refuse_idle(recipe: Recipe, agenda: Agenda) -> None:
    """Raise RecipeError for the first key that would change nothing; `recipe` says how large a batch is."""
    for sentence in (
        *_of_optimizer(recipe.optimizer),  # pyright: ignore[reportArgumentType]
        *_of_regularisation(recipe),
        *_of_schedules(recipe, agenda),
        *_of_guard(recipe.guard),
        *_of_early_stop(recipe.early_stop),
    ):
        raise RecipeError(sentence)


def _of_optimizer(part: OptimizerPart) -> Iterator[str]:
    if isinstance(part, Sgd) and part.momentum == 0:
        for key, given, said in (
            ("nesterov", part.nesterov, "true"),
            ("dampening", part.dampening > 0, f"{part.dampening:g}"),
        ):
            if given:
                yield (
                    f"optimizer.{key} = {said}: it is a property of the momentum, and optimizer.momentum = 0: expected "
                    f"a momentum above 0 with it. Give one, such as optimizer.momentum=0.9, or leave out "
                    f"optimizer.{key}."
                )
    if part.decay_multipliers and part.weight_decay == 0:
        yield (
            f"optimizer.decay_multipliers = [{', '.join(part.decay_multipliers)}]: they multiply the weight decay, and "
            "optimizer.weight_decay = 0: expected more than 0 with them. Give one, or leave out "
            "optimizer.decay_multipliers."
        )


def _of_regularisation(recipe: Recipe) -> Iterator[str]:
    for key in ("mixup", "cutmix"):
        value: float = getattr(recipe.regularise, key)
        if value and recipe.batch_size == 1:
            yield (
                f"regularise.{key} = {value:g}: it mixes the examples of a batch, and batch_size = 1: expected at "
                f"least 2. Take larger batches, or leave out regularise.{key}."
            )


def _of_guard(part: Guard) -> Iterator[str]:
    given = {key: getattr(part, key) for key in ("rewind_every", "rewind_lr", "limit")}
    for key, value in given.items():
        needed = ("skip", "rewind") if key == "limit" else ("rewind",)
        if value != Guard.model_fields[key].default and part.action not in needed:
            yield (
                f"guard.{key} = {value:g}: it matters under guard.action={' or '.join(needed)}, and guard.action = "
                f"{part.action}. Set that too, or leave out guard.{key}."
            )


def _of_early_stop(part: EarlyStop) -> Iterator[str]:
    if part.patience is None and part.metric != EarlyStop.model_fields["metric"].default:
        yield (
            f"early_stop.metric = {part.metric}: nothing stops early without early_stop.patience, the evaluations to "
            "wait for a better one. Give both, such as early_stop.patience=5, or leave out early_stop.metric."
        )


def _of_schedules(recipe: Recipe, agenda: Agenda) -> Iterator[str]:
    for name in type(recipe.schedules).model_fields:
        path, part = f"schedules.{name}", getattr(recipe.schedules, name)
        if part.warmup_start and not part.warmup_steps:
            yield (
                f"{path}.warmup_start = {part.warmup_start:g}: it is where a warm-up begins, and there is none: "
                f"expected {path}.warmup_steps with it. Give both, or leave it out."
            )
        if isinstance(part, Plateau):
            yield from _of_plateau(path, part.patience, agenda)


def _of_plateau(path: str, patience: int, agenda: Agenda) -> Iterator[str]:
    """The first evaluation sets the best, and what is lowered by the last, after all updates, changes nothing."""
    assert agenda.evaluate.interval is not None
    before = int(passed(np.array([agenda.total - 1]), agenda.evaluate.interval)[0])
    if before >= patience + 2:
        return
    fits = f"expected a patience of at most {before - 2}. Lower it, evaluate" if before >= 2 else "evaluate"
    yield (
        f"{path}.patience = {patience}: the value could never be lowered, for that takes {patience + 2} evaluations "
        f"before the end, the first to compare with, and the training has {before}: {fits} more often "
        f"(evaluate.every), {LONGER}."
    )
