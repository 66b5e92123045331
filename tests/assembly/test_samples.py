"""`samples/` of trained runs: what it shows is what the trained model says, and nothing else changes for it."""

from __future__ import annotations

import errno
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import shoal
from shoal.assembly import Screen, conduct, samples
from shoal.datasets.digits import FILE, SIZES
from shoal.datasets.text import from_text
from shoal.recipe.compose import compose
from shoal.store import RunFolder, record

QUICK = ["budget.steps=60", "evaluate.every=30"]


def train(runs: Path, *words: str) -> tuple[RunFolder, str]:
    said = io.StringIO()
    return conduct(compose("digits_mlp", [*QUICK, *words]), runs=runs, screen=Screen(said)), said.getvalue()


def told(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "samples" / "samples.json").read_text())


@pytest.mark.parametrize(
    ("word", "weights", "metric"),
    [
        ("best.metric=valid.accuracy", "best", "test.accuracy"),
        ("average=ema", "average", "test_average.accuracy"),
        ("seed=1", "raw", "test.accuracy"),
    ],
)
def test_the_samples_of_the_digits_are_those_of_the_weights_that_count(
    tmp_path: Path, word: str, weights: str, metric: str
) -> None:
    folder, _ = train(tmp_path, word)
    found, run = told(folder.path), shoal.load(folder.path)
    assert (found["split"], found["examples"], found["kind"]) == ("test", 360, "classification")
    assert found["weights"] == weights
    assert np.trace(found["confusion"]) / 360 == pytest.approx(run.metrics[metric])
    assert found["wrong"] == 360 - np.trace(found["confusion"])
    with np.load(FILE) as stored:
        rows = np.random.RandomState(0).permutation(1797)[SIZES["train"] + SIZES["valid"] :]
        images, labels = stored["images"][rows], stored["labels"][rows]
    model, sheet = run.model(), np.asarray(Image.open(folder.samples / "thumbnails.png"))
    place = found["thumbnails"]
    assert place["count"] == len(found["some"]) + len(found["worst"])
    for number, example in enumerate([*found["some"], *found["worst"]]):
        image = images[example["index"]]
        with torch.no_grad():
            shares = model(torch.tensor(image)[None, None])[0].softmax(0)
        assert example["target"] == labels[example["index"]]
        assert example["p_target"] == pytest.approx(float(shares[example["target"]]), rel=1e-3)
        assert example["prediction"] == int(shares.argmax())
        assert example["tile"] == number
        top, left = number // place["across"] * 8, number % place["across"] * 8
        assert np.allclose(sheet[top : top + 8, left : left + 8], image / 16 * 255, atol=1)
    worst = [example["loss"] for example in found["worst"]]
    assert worst == sorted(worst, reverse=True)
    assert all(example["target"] != example["prediction"] for example in found["worst"])
    assert sum(path.stat().st_size for path in folder.samples.iterdir()) < 300_000


def test_without_a_test_split_they_are_of_valid_and_no_metric_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).normal(size=(120, 4)).astype(np.float32)

    def run(runs: Path) -> shoal.Run:
        settings: dict[str, Any] = {"model": {"name": "mlp", "dropout": 0.3}, "batch_size": 16, "budget": {"steps": 20}}
        return shoal.train(settings, dataset=(x, (x[:, 0] > 0).astype(np.int64)), runs=runs, quiet=True)

    first = run(tmp_path / "with")
    found = told(first.folder)
    assert (found["split"], found["examples"]) == ("valid", 12)
    assert "thumbnails" not in found
    assert np.allclose(found["some"][0]["numbers"], x[found["some"][0]["index"]], atol=1e-3)
    monkeypatch.setattr(samples, "observer", lambda *_: None)  # nobody looks on
    monkeypatch.setattr(samples, "write", lambda *_, **__: None)
    other = run(tmp_path / "without")
    assert not (other.folder / "samples").exists()
    assert first.metrics == other.metrics
    assert (first.folder / "history.jsonl").read_bytes() == (other.folder / "history.jsonl").read_bytes()


def test_pairs_of_a_regression(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    data = {"train": (x[:100], x[:100, 0]), "test": (x[100:], x[100:, 0])}
    run = shoal.train(
        {"model": "mlp", "task": "regression", "budget.steps": 10}, dataset=data, runs=tmp_path, quiet=True
    )
    (pairs,) = told(run.folder)["pairs"]
    expected = run.model()(torch.tensor(x[100:])).squeeze(1).tolist()
    assert np.allclose(pairs, list(zip(x[100:, 0].tolist(), expected, strict=True)), rtol=1e-3, atol=1e-4)


def test_counts_of_several_labels(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    y = (x > 0).astype(np.int64)
    run = shoal.train(
        {"model": "mlp", "task": "multilabel", "budget.steps": 10},
        dataset={"train": (x[:100], y[:100]), "test": (x[100:], y[100:])},
        runs=tmp_path,
        quiet=True,
    )
    found = told(run.folder)
    assert [tp + fn for tp, fn in zip(found["tp"], found["fn"], strict=True)] == y[100:].sum(0).tolist()


def test_the_hardest_blocks_of_a_text(tmp_path: Path) -> None:
    text = "the quick brown fox jumps over the lazy dog. " * 30
    run = shoal.train(
        {"model": {"name": "gpt", "width": 16, "depth": 1}, "task": "language_modelling", "budget.steps": 3},
        batch_size=4,
        dataset=from_text(text, context=16),
        runs=tmp_path,
        quiet=True,
    )
    worst = told(run.folder)["worst"]
    assert all(block["text"] in text for block in worst)
    assert all(math.isclose(sum(block["by_letter"]) / 16, block["bits"], rel_tol=1e-3) for block in worst)


def test_a_full_disk_does_not_fail_a_trained_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(samples, "write_atomic", full)
    folder, said = train(tmp_path)
    assert record.status(folder) == "finished"
    assert "no sample predictions could be written to" in said
    assert "No space left on device" in said
