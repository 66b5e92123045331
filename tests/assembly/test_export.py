"""A run in forms that other programs read: what they hold, where they come from, and that no part of one is left."""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

import shoal
from shoal.assembly.export import Raw, write_onnx, write_weights
from shoal.assembly.weights import Kept
from shoal.checkpoints import newest
from shoal.errors import ExportError, InputError, StoreError
from shoal.recipe import from_yaml
from shoal.store import RunFolder

QUICK = {"budget.steps": 30, "evaluate.every": 10}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    """Best weights that are not the last ones."""
    settings = {**QUICK, "best.metric": "valid.accuracy", "optimizer.lr": 1.5, "schedules.lr": "constant"}
    return shoal.train("digits_mlp", settings, runs=tmp_path_factory.mktemp("runs"), quiet=True)


def outputs_of(path: Path, inputs: Tensor) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path))
    (found,) = session.run(["outputs"], {"inputs": inputs.numpy()})
    return found


def test_weights_are_the_best_and_say_where_they_come_from(tmp_path: Path, trained: shoal.Run) -> None:
    write_weights(trained.location, tmp_path / "w.safetensors")
    found, model = load_file(tmp_path / "w.safetensors"), trained.model().state_dict()
    assert found.keys() == model.keys()
    assert all(torch.equal(found[name], model[name]) for name in model)
    loaded = newest(trained.location.checkpoints)
    assert loaded is not None
    last = loaded.states["engine"]["parameters"]
    assert not all(torch.equal(found[name], last[name]) for name in last)
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        said = file.metadata()
    assert (said["format"], said["weights"]) == ("pt", "best")
    assert (said["run"], said["signature"], said["seed"]) == (trained.label, trained.signature, "0")
    assert from_yaml(said["recipe"]) == trained.recipe
    assert json.loads(said["normalisation"]) == trained.record["data"]["normalisation"]


def test_other_weights_are_exported_where_they_are_asked_for(tmp_path: Path, trained: shoal.Run) -> None:
    trained.export(weights=tmp_path / "raw.safetensors", which="raw", quiet=True)
    found, last = load_file(tmp_path / "raw.safetensors"), trained.model(weights="raw").state_dict()
    assert all(torch.equal(found[name], last[name]) for name in last)
    assert not all(torch.equal(found[name], best) for name, best in trained.model().state_dict().items())
    with pytest.raises(InputError, match=r"weights = average: .* has raw and best weights"):
        trained.export(weights=tmp_path / "average.safetensors", which="average", quiet=True)
    with pytest.raises(InputError, match="which = raw: it chooses the weights of --weights and --onnx"):
        trained.export(history=tmp_path / "h.csv", which="raw", quiet=True)
    assert {path.name for path in tmp_path.iterdir()} == {"raw.safetensors"}


def test_exported_weights_are_a_start(tmp_path: Path, trained: shoal.Run) -> None:
    write_weights(trained.location, tmp_path / "w.safetensors")
    settings = {"budget.steps": 1, "optimizer.lr": 1e-30, "init.from": str(tmp_path / "w.safetensors")}
    run = shoal.train("digits_mlp", settings, runs=tmp_path / "runs", quiet=True)
    assert run.test() == trained.test()


def test_an_onnx_model_takes_raw_inputs_in_batches_of_any_size(tmp_path: Path, trained: shoal.Run) -> None:
    write_onnx(trained.location, tmp_path / "m.onnx")
    model = trained.model()
    for count in (1, 3, 64):
        inputs = torch.randint(17, (count, 1, 8, 8)).float()
        with torch.no_grad():
            np.testing.assert_allclose(outputs_of(tmp_path / "m.onnx", inputs), model(inputs), rtol=1e-4, atol=1e-5)
    found = onnx.load(tmp_path / "m.onnx")
    said = {entry.key: entry.value for entry in found.metadata_props}
    assert (said["run"], said["signature"]) == (trained.label, trained.signature)
    axis = found.graph.input[0].type.tensor_type.shape.dim[0]
    assert axis.dim_param == "batch"
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]


def test_an_onnx_model_of_tokens_takes_tokens(tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 30)
    recipe = {
        "dataset": {"name": "text", "path": str(text), "context": 8, "valid": 0},
        "model": {"name": "gpt", "width": 8, "depth": 1, "heads": 2},
        "task": {"name": "language_modelling"},
    }
    run = shoal.train(recipe, {"budget.steps": 10}, runs=tmp_path / "runs", quiet=True)
    write_onnx(run.location, tmp_path / "m.onnx")
    inputs = torch.randint(10, (3, 8))
    with torch.no_grad():
        np.testing.assert_allclose(outputs_of(tmp_path / "m.onnx", inputs), run.model()(inputs), rtol=1e-4, atol=1e-5)


class Eigen(nn.Module):
    """Has an operation that ONNX does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.output = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.output(x + torch.linalg.eigvalsh(x[:, :, None] * x[:, None, :]))


X, Y = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32), np.arange(80) % 3


def test_a_model_that_onnx_cannot_hold_is_one_sentence_and_no_file(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = shoal.train({"name": "eigen"}, {"budget.steps": 2}, model=Eigen, dataset=(X, Y), runs=tmp_path, quiet=True)
    folder = tmp_path / "out"
    folder.mkdir()
    capfd.readouterr()
    with pytest.raises(
        ExportError, match=r"^the model of eigen-\w+/seed-0 cannot be exported as ONNX: .*eigh.*\.$"
    ) as e:
        run.export(onnx=folder / "m.onnx")
    assert "\n" not in str(e.value)
    assert e.value.exit_code == 1
    assert list(folder.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_package_that_is_missing_is_named(
    tmp_path: Path, trained: shoal.Run, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=rf"needs the package {package}, .* pip install 'shoal\[onnx\]'"):
        write_onnx(trained.location, tmp_path / "m.onnx")
    assert list(tmp_path.iterdir()) == []


class Drawing(nn.Linear):
    """Draws from a global generator that is not torch's as it is made."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        np.random.rand()


def test_the_callers_generators_are_left_alone(tmp_path: Path) -> None:
    run = shoal.train({"budget": {"steps": 2}}, model=Drawing, dataset=(X, Y), runs=tmp_path / "runs", quiet=True)
    np.random.seed(3)
    expected = np.random.rand()
    np.random.seed(3)
    run.export(tensorboard=tmp_path / "board", quiet=True)
    assert (tmp_path / "board" / "projector" / "vectors.tsv").is_file()
    assert np.random.rand() == expected


def test_several_forms_at_once_are_overwritten_with_force_only(tmp_path: Path, trained: shoal.Run) -> None:
    paths = {"weights": tmp_path / "w.safetensors", "history": tmp_path / "h.csv", "tensorboard": tmp_path / "board"}
    assert trained.export(**paths, quiet=True) == paths
    assert all(path.exists() for path in paths.values())
    before = load_file(paths["weights"])
    paths["weights"].write_text("mine")
    with pytest.raises(InputError, match=r"weights = .* is only overwritten with --force \(force=True\)"):
        trained.export(**paths)
    assert paths["weights"].read_text() == "mine"
    trained.export(weights=str(paths["weights"]), force=True)
    assert load_file(paths["weights"]).keys() == before.keys()


def test_a_run_without_checkpoints_has_nothing_to_export(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no checkpoint yet: train it first"):
        write_weights(RunFolder(tmp_path), tmp_path / "w.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_a_board_that_cannot_be_written_is_said(tmp_path: Path, trained: shoal.Run) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(ExportError, match=r"cannot write the board of digits_mlp-.*: Not a directory"):
        trained.export(tensorboard=tmp_path / "file" / "board")


def test_without_normalisation_inputs_pass_as_they_are() -> None:
    model = nn.Flatten()
    tokens = torch.ones(2, 3, dtype=torch.int64)
    assert Raw(model, None)(tokens).dtype == torch.int64


def test_weights_that_share_memory_are_written_once_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    export = import_module("shoal.assembly.export")
    whole = torch.arange(6.0)
    monkeypatch.setattr(export, "kept", lambda folder: Kept("run", {"raw": {"a": whole.view(2, 3).T, "b": whole}}))
    monkeypatch.setattr(export, "origin", lambda folder: {})
    write_weights(RunFolder(tmp_path), tmp_path / "w.safetensors")
    found = load_file(tmp_path / "w.safetensors")
    assert torch.equal(found["a"], whole.view(2, 3).T)
    assert torch.equal(found["b"], whole)
