"""Under each execution a training that is resumed ends bit for bit as the one that was left alone, whatever its recipe.

State goes through the bytes of a checkpoint into fresh objects, in the middle of an epoch and at its end. Adding an
optimizer to its table adds it here.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.contracts.engines import SMALL, engine_of, loaded, position, saved, train

from shoal.recipe.tables import TABLES

EXECUTIONS = ["eager", "captured"]
STEPS, CUTS = 14, (5, 9)
"""9 steps of 128 examples are an epoch of the digits."""
BASE: dict[str, Any] = {
    **SMALL,
    "batch_size": 128,
    "model": {"name": "mlp", "width": 12, "norm": "batch", "dropout": 0.2},
    "schedules": {"lr": {"name": "cosine", "warmup_steps": 3}},
    "budget": {"steps": STEPS},
}
PICTURES: dict[str, Any] = {"model": {"name": "convnet", "width": 2, "depth": 1}}
VARIANTS: dict[str, dict[str, Any]] = {
    "ema": {"average": {"name": "ema", "decay": 0.9}},
    "swa": {"average": {"name": "swa", "start": 0.2, "every": 2, "lr": 0.01}},
    "lookahead": {"average": {"name": "lookahead", "every": 3}},
    "clip percentile": {"regularise": {"clip_percentile": 50.0}},
    "sam": {"regularise": {"sam": 0.05}},
    "mixup and cutmix": {"regularise": {"mixup": 0.4, "cutmix": 1.0}, **PICTURES},
    "augmentations": {"regularise": {"flip": True, "translate": 1, "crop": 0.6, "cutout": 2}, **PICTURES},
    "spectral norm": {"regularise": {"spectral_norm": True}},
    "fp16": {"precision": "fp16"},
    "accumulation": {"accumulate": 4},
    "a smaller last batch": {"dataset": {"name": "digits", "drop_last": False}, "batch_size": 140},
    "momentum and dampening": {
        "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "dampening": 0.2},
        "schedules": {"momentum": {"name": "cosine", "final": 0.5}},
    },
    "everything": {
        "optimizer": {"name": "nadam", "lr": 0.01},
        "precision": "fp16",
        "accumulate": 2,
        "regularise": {"clip_percentile": 90.0, "clip_value": 0.5, "label_smoothing": 0.1, "mixup": 0.4},
        "average": {"name": "ema", "decay": 0.9},
    },
}
OPTIMIZERS = sorted(
    name
    for name, cls in TABLES["optimizer"].items()
    if cls.__module__.startswith("shoal.recipe.") and name not in ("lbfgs", "schedule_free")
)


def check(keys: dict[str, Any], execution: str) -> None:
    alone, work = engine_of(keys, execution)
    done, states = 0, dict[int, bytes]()
    for cut in (*CUTS, STEPS):
        train(alone, work, cut - done, position(work, done))
        done, states[cut] = cut, saved(alone)
    again, work = engine_of(keys, execution)
    for cut in CUTS:  # the second time into objects that have gone on from elsewhere
        again.load_state_dict(loaded(states[cut]))
        assert saved(again) == states[cut]
        train(again, work, STEPS - cut, position(work, cut))
        assert saved(again) == states[STEPS], cut


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_is_resumed(name: str, execution: str) -> None:
    check({**BASE, "optimizer": {"name": name, "lr": 0.01, "weight_decay": 0.01}}, execution)


@pytest.mark.parametrize("execution", EXECUTIONS)
@pytest.mark.parametrize("name", VARIANTS)
def test_every_recipe_is_resumed(name: str, execution: str) -> None:
    check({**BASE, **VARIANTS[name]}, execution)
