"""What a recipe leaves to be worked out, and averages beside optimizers that have one of their own."""

from __future__ import annotations

import pytest
import torch

from shoal import optim
from shoal.assembly import Workshop
from shoal.assembly.stepping import calibration
from shoal.errors import RecipeError
from shoal.recipe.compose import compose
from shoal.training import Plan, SoloEngine
from shoal.training.weights import weights_of

SHORT = ["budget.steps=30", "evaluate.every=10"]
PLAN = Plan(engine="solo", execution="eager", device="cpu", threads=1, torch=str(torch.__version__))


def workshop(*words: str) -> Workshop:
    return Workshop(compose("digits_mlp", [*SHORT, *words]))


def trained(made: Workshop, steps: int = 8) -> SoloEngine:
    engine = made.engine(PLAN, made.stepping.step("eager", print))
    rows = engine.upload(made.hypers.block(0, steps))
    for hyper, batch in zip(rows, made.batches.start(), strict=False):
        engine.step(batch, hyper)
    return engine


def test_demon_comes_by_itself_and_keeps_a_warm_up() -> None:
    plain = workshop("optimizer=demon_adam").effective.schedules.momentum
    warm = workshop(
        "optimizer=demon_adam", "schedules.momentum.warmup_steps=6", "schedules.momentum.warmup_start=0.5"
    ).effective.schedules.momentum
    assert plain.model_dump() == {"name": "demon", "warmup_steps": 0, "warmup_start": 0.0}
    assert warm.model_dump() == {"name": "demon", "warmup_steps": 6, "warmup_start": 0.5}


def test_another_schedule_of_beta1_takes_the_place_of_demon() -> None:
    words = ["optimizer=demon_adam", "schedules.momentum=linear", "schedules.momentum.final=1"]
    assert workshop(*words).effective.schedules.momentum.name == "linear"
    without = workshop("optimizer=demon_adam", "optimizer.beta1=0")
    without.check()
    assert without.effective.schedules.momentum.name == "constant"


@pytest.mark.parametrize("words", [["average=ema"], ["average=swa", "average.every=1"], ["average=lookahead"]], ids=str)
def test_a_second_average_beside_schedule_frees_is_refused(words: list[str]) -> None:
    message = r": optimizer\.name = schedule_free averages .* itself, .* Leave out average"
    with pytest.raises(RecipeError, match=words[0].replace("=", r"\.name = ") + message):
        workshop("optimizer=schedule_free", *words).check()


def test_schedule_frees_average_has_batch_norm_statistics_of_its_own() -> None:
    made = workshop("optimizer=schedule_free", "model.norm=batch")
    engine = trained(made)
    optimizer = engine.perform.optimizer  # type: ignore[union-attr]
    point = optim.point_average(optimizer, made.model)
    assert point is not None
    present = {**weights_of(made.model), **point}
    expected = optim.batch_norm_statistics(made.model, present, calibration(made.batches), seed=0)
    found = engine.averaged_weights()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in found)
    running = [name for name in found if "running_" in name]
    assert running
    assert not any(torch.equal(found[name], present[name]) for name in running)
