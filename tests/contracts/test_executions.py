"""Every execution takes the same steps: recorded and compiled ones equal eager ones to rounding, whatever the recipe.

Adding an optimizer, an average or a regulariser to its table adds it here.
"""

from __future__ import annotations

from typing import Any

import pytest
from tests.contracts.engines import SMALL, ended, engine_of, train

from shoal.recipe.tables import TABLES

STEPS = SMALL["budget"]["steps"]
PICTURES: dict[str, Any] = {**SMALL, "model": {"name": "convnet", "width": 3, "depth": 1}}
RULES = sorted(
    name
    for name, cls in TABLES["optimizer"].items()
    if cls.__module__.startswith("shoal.recipe.") and name not in ("lbfgs", "schedule_free")
)
RATES = {"adadelta": 1.0, "lion": 1e-3, "muon": 0.02, "adafactor": 0.01, "sgd": 0.05, "adagrad": 0.02}
KEYS: dict[str, dict[str, Any]] = {"muon": {"matmul": "float32"}}
"""Keys of an entry: iterations in bfloat16 make thousandths of what is rounding in a gradient."""


def same(keys: dict[str, Any], execution: str, *, tolerance: float = 1e-3) -> None:
    """Compare by the norm of the difference: an adaptive optimizer makes steps of what is rounding in a gradient."""
    eager, work = engine_of(keys, "eager")
    other, again = engine_of(keys, execution)
    train(eager, work, STEPS)
    train(other, again, STEPS)
    (expected,), (measured,) = eager.drain(), other.drain()
    assert measured == pytest.approx(expected, rel=1e-3, abs=1e-6)
    wanted, found = ended(eager), ended(other)
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        apart = float((found[name].double() - value.double()).norm())
        assert apart <= tolerance * float(value.double().norm()) + 1e-6, name


@pytest.mark.parametrize("name", RULES)
def test_a_recorded_step_of_every_optimizer_is_the_eager_one(name: str) -> None:
    optimizer = {"name": name, "weight_decay": 0.01, "lr": RATES.get(name, 5e-3), **KEYS.get(name, {})}
    model = {"name": "mlp", "width": 12, "norm": "layer", "activation": "tanh"}
    same(
        {**SMALL, "model": model, "optimizer": optimizer, "schedules": {"lr": {"name": "cosine", "warmup_steps": 5}}},
        "captured",
    )


VARIANTS: dict[str, dict[str, Any]] = {
    "nesterov": {"optimizer": {"name": "sgd", "lr": 0.05, "nesterov": True, "dampening": 0.0}},
    "dampening": {"optimizer": {"name": "sgd", "lr": 0.05, "dampening": 0.3}},
    "momentum is scheduled": {"schedules": {"momentum": {"name": "cosine", "final": 0.5}}},
    "weight decay is scheduled": {
        "optimizer": {"name": "sgd", "lr": 0.05, "weight_decay": 0.1},
        "schedules": {"weight_decay": {"name": "cosine"}},
    },
    "multipliers": {"optimizer": {"name": "adamw", "lr_multipliers": ["*.weight=0.1"], "decay_multipliers": ["*=2"]}},
    "accumulation": {"accumulate": 4, "model": {"name": "mlp", "width": 12}},
    "accumulation with batch norm": {"accumulate": 2},
    "clip norm": {"regularise": {"clip_norm": 0.5}},
    "clip value": {"regularise": {"clip_value": 0.01}},
    "clip percentile": {"regularise": {"clip_percentile": 50.0}},
    "sam": {"regularise": {"sam": 0.05}},
    "label smoothing": {"regularise": {"label_smoothing": 0.1}},
    "mixup": {"regularise": {"mixup": 0.4}},
    "cutmix": {"regularise": {"cutmix": 1.0}},
    "both": {"regularise": {"mixup": 0.4, "cutmix": 1.0}},
    "flip": {"regularise": {"flip": True}},
    "translate": {"regularise": {"translate": 2}},
    "crop": {"regularise": {"crop": 0.5}},
    "cutout": {"regularise": {"cutout": 3}},
    "ema": {"average": {"name": "ema", "decay": 0.9}},
    "swa": {"average": {"name": "swa", "start": 0.5, "every": 5, "lr": 0.01}},
    "lookahead": {"average": {"name": "lookahead"}},
    "dropout": {"model": {"name": "mlp", "width": 12, "dropout": 0.3}},
    "weight norm": {"regularise": {"weight_norm": True}},
    "spectral norm": {"regularise": {"spectral_norm": True}},
    "a smaller last batch": {"dataset": {"name": "digits", "drop_last": False}, "batch_size": 100},
    "large, not joined": {"model": {"name": "mlp", "width": 1000}},
    "all of train": {"batch_size": "all"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_recorded_step_of_every_recipe_is_the_eager_one(name: str) -> None:
    same({**SMALL, **VARIANTS[name]}, "captured")


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_recorded_step_of_16_bits_is_the_eager_one(precision: str) -> None:
    same({**SMALL, "precision": precision}, "captured", tolerance=0.05)
