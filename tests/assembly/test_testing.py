"""`run.test()` gives the numbers that training recorded, to the last bit, whatever the training was."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import shoal
from shoal.errors import RecipeError
from shoal.training.precision import check_precision

QUICK = {"budget.steps": 12, "evaluate.every": 6, "execution": "eager"}
SWA = {"average": "swa", "average.start": 0.3, "average.every": 2}
RESNET = {"model": "resnet", "model.width": 8, "model.depth": 8}
CASES: dict[str, dict[str, Any]] = {
    "no average": {},
    "ema": {"average": "ema"},
    "ema, captured": {"average": "ema", "execution": "captured"},
    "ema, the best": {"average": "ema", "best.metric": "valid_average.loss"},
    "swa, batch norms, pixel by pixel": {**SWA, **RESNET, "channels_last": "yes"},
    "lookahead, batch norms": {"average": "lookahead", **RESNET},
    "swa, batch norms, bf16": {**SWA, **RESNET, "precision": "bf16"},
    "spectral norm, dropout": {"regularise.spectral_norm": True, "model.dropout": 0.3},
    "all in a batch": {"batch_size": "all", "average": "ema", "budget.steps": 2, "evaluate.every": 1},
}


def train(runs: Path, settings: dict[str, Any]) -> shoal.Run:
    return shoal.train("digits", {**QUICK, **settings}, runs=runs, quiet=True)


def recorded(run: shoal.Run, split: str) -> dict[str, float]:
    return {name: value for name, value in run.metrics.items() if name.startswith(split)}


@pytest.mark.parametrize("settings", CASES.values(), ids=CASES)
def test_a_test_repeats_what_training_recorded(tmp_path: Path, settings: dict[str, Any]) -> None:
    if settings.get("precision") == "bf16":
        try:
            check_precision("bf16", torch.device("cpu"))
        except RecipeError as error:
            pytest.skip(str(error))
    run = train(tmp_path, settings)
    again = run.test()
    assert again == recorded(run, "test")
    assert any(name.startswith("test_average.") for name in again) == (
        "average" in settings and "best.metric" not in settings
    )
    if "best.metric" not in settings:
        assert run.test(split="valid") == recorded(run, "valid")


def test_one_kind_of_weights_is_measured_under_its_name(tmp_path: Path) -> None:
    run = train(tmp_path, {"average": "ema"})
    assert run.test(weights="raw") == {k: v for k, v in run.metrics.items() if k.startswith("test.")}
    assert run.test(weights="average") == {k: v for k, v in run.metrics.items() if k.startswith("test_average.")}


def test_the_best_of_averaged_weights_are_those_of_their_evaluation(tmp_path: Path) -> None:
    run = train(tmp_path, {"average": "ema", "best.metric": "valid_average.loss"})
    assert run.test(split="valid", weights="best")["valid.loss"] == run.record["best"]["value"]


def test_the_threads_of_the_plan_are_taken_and_given_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = train(tmp_path, {})
    told = json.loads(run.location.record.read_text())
    told["plan"]["threads"] = 2
    run.location.record.write_text(json.dumps(told))
    seen: list[int] = []
    model = torch.nn.Module.__call__

    def watched(self: torch.nn.Module, *words: Any) -> Any:
        seen.append(torch.get_num_threads())
        return model(self, *words)

    monkeypatch.setattr(torch.nn.Module, "__call__", watched)
    run.test()
    assert set(seen) == {2}
    assert torch.get_num_threads() == 1


def test_another_precision_is_computed_in_where_it_is_asked_for(tmp_path: Path) -> None:
    run = train(tmp_path, {})
    assert run.test(precision="fp32") == run.test()
    with pytest.raises(shoal.ShoalError, match=r"unknown precision .fp31.: did you mean .fp32.\?"):
        run.test(precision="fp31")
    with pytest.raises(RecipeError, match=r"precision = tf32: the CPU .* has no TensorFloat-32"):
        run.test(precision="tf32", device="cpu")


def test_half_precision_moves_the_numbers_and_not_the_dtype_of_losses(tmp_path: Path) -> None:
    try:
        check_precision("bf16", torch.device("cpu"))
    except RecipeError as error:
        pytest.skip(str(error))
    run = train(tmp_path, {})
    half, whole = run.test(precision="bf16")["test.loss"], run.test()["test.loss"]
    assert half != whole
    assert half == pytest.approx(whole, rel=0.02)


def test_other_data_are_measured_with_both_kinds_of_weights(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 4)).astype("float32"), np.arange(60) % 3
    data = {"train": (x[:40], y[:40]), "test": (x[40:], y[40:])}
    settings = {**QUICK, "batch_size": 8, "average": "ema"}
    run = shoal.train(settings, dataset=data, runs=tmp_path / "runs", quiet=True, model=Network)
    np.savez(tmp_path / "other.npz", x_train=x, y_train=y, x_test=x[:20], y_test=y[:20])
    told = run.test(path=str(tmp_path / "other.npz"))
    assert {name.partition(".")[0] for name in told} == {"test", "test_average"}
    assert told["test.loss"] != run.metrics["test.loss"]


class Network(torch.nn.Sequential):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__(torch.nn.Linear(*input_shape, outputs))
