"""Keys that would do nothing are refused with what they need; with that they pass."""

from __future__ import annotations

import pytest

from shoal.assembly import Workshop
from shoal.errors import RecipeError
from shoal.recipe.compose import compose

SHORT = ["budget.steps=30", "evaluate.every=5"]

IDLE: list[tuple[list[str], str, list[str]]] = [
    (
        ["optimizer.nesterov=true", "optimizer.momentum=0"],
        r"optimizer\.nesterov = true: it is a property of the momentum, and optimizer\.momentum = 0: expected a mom",
        ["optimizer.momentum=0.9"],
    ),
    (
        ["optimizer.dampening=0.5", "optimizer.momentum=0"],
        r"optimizer\.dampening = 0\.5: .* or leave out optimizer\.dampening\.",
        ["optimizer.momentum=0.9"],
    ),
    (
        ["optimizer.decay_multipliers=['*.weight=5']"],
        r"optimizer\.decay_multipliers = \[\*\.weight=5\]: .* optimizer\.weight_decay = 0: expected more than 0",
        ["optimizer.weight_decay=0.1"],
    ),
    (
        ["batch_size=1", "regularise.mixup=0.4"],
        r"regularise\.mixup = 0\.4: .*, and batch_size = 1: expected at least 2\. Take larger batches, or leave out",
        ["batch_size=2"],
    ),
    (["batch_size=1", "regularise.cutmix=1"], r"regularise\.cutmix = 1: it mixes", ["batch_size=2"]),
    (
        ["schedules.lr.warmup_start=0.5"],
        r"schedules\.lr\.warmup_start = 0\.5: .* expected schedules\.lr\.warmup_steps with it",
        ["schedules.lr.warmup_steps=3"],
    ),
    (
        ["schedules.lr=plateau", "schedules.lr.patience=4"],
        r"schedules\.lr\.patience = 4: .* takes 6 evaluations .* the training has 5: expected .* at most 3\.",
        ["schedules.lr.patience=3"],
    ),
    (
        ["schedules.lr=plateau", "schedules.lr.patience=0", "evaluate.every=15"],
        r"patience = 0: .* takes 2 evaluations .* the training has 1: evaluate more",
        ["evaluate.every=14"],
    ),
    (
        ["guard.rewind_lr=0.1"],
        r"guard\.rewind_lr = 0\.1: it matters under guard\.action=rewind, and guard\.action = stop\. Set that too, or",
        ["guard.action=rewind"],
    ),
    (["guard.rewind_every=5", "guard.action=skip"], r"guard\.rewind_every = 5: .* = skip\.", ["guard.action=rewind"]),
    (
        ["early_stop.metric=valid.acuracy"],
        r"early_stop\.metric = valid\.acuracy: nothing stops early without",
        ["early_stop.metric=valid.loss"],
    ),
    (["guard.limit=2"], r"guard\.limit = 2: it matters under guard\.action=skip or rewind", ["guard.action=skip"]),
]


@pytest.mark.parametrize(("words", "message", "mended"), IDLE, ids=[words[0] for words, _, _ in IDLE])
def test_what_would_do_nothing_is_refused(words: list[str], message: str, mended: list[str]) -> None:
    with pytest.raises(RecipeError, match=message):
        Workshop(compose("digits_mlp", [*SHORT, *words])).check()
    Workshop(compose("digits_mlp", [*SHORT, *words, *mended])).check()


def test_a_plateau_in_the_default_budget_says_what_fits() -> None:
    with pytest.raises(RecipeError, match=r"schedules\.lr\.patience = 10: .* 12 evaluations .* has 9: .* at most 7\. "):
        Workshop(compose("digits_mlp", ["budget.epochs=10", "schedules.lr=plateau"])).check()


def test_a_percentile_that_clips_nothing_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"regularise\.clip_percentile = 100: expected .* less than 100"):
        compose("digits_mlp", ["regularise.clip_percentile=100"])
