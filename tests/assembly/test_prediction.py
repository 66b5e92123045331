"""Predictions: those of the trained network, under their names, and inputs that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import shoal
from shoal.errors import InputError

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(3, 5, size=(200, 4)).astype("float32")
CLASSES = (X[:, 0] > 3).astype("int64") + (X[:, 1] > 3)
QUICK: dict[str, Any] = {"model": "mlp", "budget": {"steps": 200}, "evaluate": {"every": 200}, "batch_size": 50}
ADAM = {"name": "adamw", "lr": 0.01}


def train(folder: Path, targets: Any, **keys: Any) -> shoal.Run:
    return shoal.train(QUICK, dataset=(X, targets), optimizer=ADAM, runs=folder, quiet=True, **keys)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    return train(tmp_path_factory.mktemp("prediction"), CLASSES)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    return shoal.train("digits_mlp", budget={"steps": 2}, runs=tmp_path_factory.mktemp("digits"), quiet=True)


def test_classes_and_their_probabilities_are_those_of_the_model(run: shoal.Run) -> None:
    found = run.predict(X)
    with torch.no_grad():
        outputs = run.model()(torch.from_numpy(X))
    torch.testing.assert_close(found.outputs, outputs)
    torch.testing.assert_close(found.probabilities.sum(1), torch.ones(200))
    assert found.predicted == [str(int(row)) for row in outputs.argmax(1)]
    assert np.mean([int(name) == label for name, label in zip(found.predicted, CLASSES, strict=True)]) > 0.9
    assert len(found) == 200
    first = found.rows(top=2)[0]
    assert list(first["probabilities"]) == [str(int(at)) for at in outputs[0].softmax(0).topk(2).indices]
    assert first["input"] == "the inputs, row 0"


def test_more_inputs_than_a_batch_are_predicted_in_their_order(run: shoal.Run) -> None:
    many = np.tile(X, (12, 1))
    torch.testing.assert_close(run.predict(many).outputs, run.predict(X).outputs.tile(12, 1))


def test_float64_and_lists_are_taken_as_they_come(run: shoal.Run) -> None:
    torch.testing.assert_close(run.predict(X.astype("float64")).outputs, run.predict(X).outputs)
    torch.testing.assert_close(run.predict(X[:2].tolist()).outputs, run.predict(X[:2]).outputs)
    torch.testing.assert_close(run.predict(X[0]).outputs, run.predict(X[:1]).outputs)


def test_values_are_predicted_as_numbers(tmp_path: Path) -> None:
    found = train(tmp_path, X[:, 0] * 2, task="regression").predict(X[:5])
    assert found.kind == "values"
    assert all(isinstance(value, float) for value in found.predicted)
    assert found.predicted == pytest.approx(list(X[:5, 0] * 2), abs=3)
    with pytest.raises(InputError, match=r"predicts values, which have no probabilities"):
        _ = found.probabilities
    several = train(tmp_path, X[:, :2] * 2, task="regression").predict(X[:5])
    assert np.asarray(several.predicted).shape == (5, 2)


def test_several_labels_an_example_are_those_above_one_half(tmp_path: Path) -> None:
    flags = np.stack([X[:, 0] > 3, X[:, 1] > 3, X[:, 2] > 3], 1)
    found = train(tmp_path, flags, task="multilabel").predict(X)
    told = [[name for name, chance in row["probabilities"].items() if chance > 0.5] for row in found.rows()]
    assert [sorted(row) for row in told] == [sorted(row) for row in found.predicted]
    right = [
        {str(at) for at in np.flatnonzero(row)} == set(one) for row, one in zip(flags, found.predicted, strict=True)
    ]
    assert np.mean(right) > 0.8


def several(outputs: Tensor, targets: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none").sum(1)


def test_a_loss_of_ones_own_on_several_labels_predicts_labels(tmp_path: Path) -> None:
    flags = np.stack([X[:, 0] > 3, X[:, 1] > 3, X[:, 2] > 3], 1)
    assert train(tmp_path, flags, loss=several).predict(X[:4]).kind == "labels"


class Twice(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(input_shape[0], outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)


def test_a_model_of_ones_own_is_passed_again(tmp_path: Path) -> None:
    trained = shoal.train(QUICK, dataset=(X, CLASSES), model=Twice, runs=tmp_path, quiet=True)
    again = shoal.load(trained.folder, model=Twice)
    torch.testing.assert_close(again.predict(X).outputs, trained.predict(X).outputs)
    with pytest.raises(InputError, match=r"was passed from Python.*pass it again"):
        shoal.load(trained.folder).predict(X)


def test_arrays_in_files(run: shoal.Run, tmp_path: Path) -> None:
    expected = run.predict(X[:3])
    np.save(tmp_path / "x.npy", X[:3])
    np.save(tmp_path / "one.npy", X[0])
    np.savez(tmp_path / "x.npz", x=X[:3], y=X)
    np.savez(tmp_path / "sole.npz", rows=X[:3])
    for name in ("x.npy", "x.npz", "sole.npz"):
        torch.testing.assert_close(run.predict(tmp_path / name).outputs, expected.outputs)
    both = run.predict([str(tmp_path / "one.npy"), tmp_path / "x.npy"])
    torch.testing.assert_close(both.outputs, torch.cat([expected.outputs[:1], expected.outputs]))
    assert both.inputs[:2] == (str(tmp_path / "one.npy"), f"{tmp_path / 'x.npy'}, row 0")


def test_a_folder_is_its_files_in_order(run: shoal.Run, tmp_path: Path) -> None:
    for place, name in enumerate(("b.npy", "a.npy", ".hidden")):
        with (tmp_path / name).open("wb") as file:
            np.save(file, X[place])
    found = run.predict(tmp_path)
    assert found.inputs == (str(tmp_path / "a.npy"), str(tmp_path / "b.npy"))
    torch.testing.assert_close(found.outputs, run.predict(X[[1, 0]]).outputs)


def test_a_picture_of_one_channel_may_lack_it(digits: shoal.Run) -> None:
    pictures = GENERATOR.integers(0, 17, size=(5, 1, 8, 8)).astype("uint8")
    torch.testing.assert_close(digits.predict(pictures[:, 0]).outputs, digits.predict(pictures).outputs)
    torch.testing.assert_close(digits.predict(pictures.astype("float32")).outputs, digits.predict(pictures).outputs)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.npy", None, r"gone.npy: there is no such file. This run predicts from .*arrays of shape \[4\]"),
        ("wide.npy", np.zeros((3, 9)), r"wide.npy: shape \[3, 9\]. This run predicts from arrays of shape \[4\] or"),
        ("none.npy", np.zeros((0, 4)), r"none.npy: shape \[0, 4\]"),
        ("nan.npy", np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]]), r"nan.npy, row 1: it holds NaN.*1 of 2 inputs do"),
        ("words.npy", np.array(["a", "b"]), r"words.npy: an array of dtype <U1"),
        ("flat.npy", np.zeros((3, 2, 2)), r"flat.npy: shape \[3, 2, 2\]"),
        ("objects.npy", np.array([{}, {}], dtype=object), r"objects.npy: no array can be read from it"),
        ("two.npz", {"a": X, "b": X}, r"two.npz: expected one array, or one named x; it has a, b"),
        ("torn.npy", b"\x93NUMPY", r"torn.npy: no array can be read"),
        ("torn.npz", b"PK\x03\x04", r"torn.npz: no array can be read"),
        ("notes.txt", b"words", r"notes.txt: this run predicts from arrays of shape \[4\]"),
    ],
)
def test_what_is_no_input_is_told(name: str, content: Any, message: str, run: shoal.Run, tmp_path: Path) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif content is not None:
        np.save(path, content, allow_pickle=True)
    with pytest.raises(InputError, match=message):
        run.predict(path)


def test_no_pictures_are_told(digits: shoal.Run) -> None:
    for shape in ((0, 8, 8), (5, 4, 16), (5, 64, 1)):
        with pytest.raises(
            InputError, match=r"This run predicts from files of pictures, or arrays of shape \[1, 8, 8\]"
        ):
            digits.predict(np.zeros(shape))


def test_a_picture_in_a_file_is_read_at_the_levels_that_were_trained_on(digits: shoal.Run, tmp_path: Path) -> None:
    pixels = GENERATOR.integers(0, 17, size=(1, 8, 8)).astype("uint8")
    Image.fromarray(np.round(pixels[0] * (255 / 16)).astype("uint8")).save(tmp_path / "digit.png")
    found = digits.predict(tmp_path / "digit.png")
    assert found.inputs == (str(tmp_path / "digit.png"),)
    torch.testing.assert_close(found.outputs, digits.predict(pixels).outputs, rtol=0, atol=0.05)
    large = Image.open(tmp_path / "digit.png").convert("RGB").resize((64, 64))
    large.save(tmp_path / "large.png")  # of another size and in colour
    assert digits.predict(tmp_path / "large.png").outputs.shape == (1, 10)
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match=r"broken.png"):
        digits.predict(tmp_path / "broken.png")


ROWS = {"size": [1.0, 2.0, 3.0, 4.0] * 20, "kind": ["a", "b", "a", "b"] * 20, "price": [2.0, 5.0, 6.0, 9.0] * 20}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    folder = tmp_path_factory.mktemp("table")
    pandas.DataFrame(ROWS).to_csv(folder / "rows.csv", index=False)
    dataset = {"name": "table", "path": str(folder / "rows.csv"), "target": "price"}
    keys = {**QUICK, "task": "regression", "batch_size": 16, "optimizer": ADAM}
    return shoal.train(keys, dataset=dataset, runs=folder, quiet=True)


def test_rows_of_a_table_are_read_as_training_did(table: shoal.Run, tmp_path: Path) -> None:
    new = pandas.DataFrame({"other": [0, 0], "kind": ["b", "a"], "size": [2.0, 3.0]})
    new.to_csv(tmp_path / "new.csv", index=False)
    found = table.predict(tmp_path / "new.csv")
    assert found.inputs == (f"{tmp_path / 'new.csv'}, row 0", f"{tmp_path / 'new.csv'}, row 1")
    assert found.names == ("price",)
    assert found.predicted == pytest.approx([5.0, 6.0], abs=1.0)
    for rows in (new, {"kind": ["b", "a"], "size": [2.0, 3.0]}, pyarrow.table({"kind": ["b", "a"], "size": [2, 3]})):
        torch.testing.assert_close(table.predict(rows).outputs, found.outputs)
    assert found.notes == ()
    strange = table.predict({"kind": ["c"], "size": [2.0]})
    assert any("'c'" in note and "train does not have" in note for note in strange.notes)
    with pytest.raises(InputError, match=r"the column 'size' is missing, which the model was trained on"):
        table.predict({"kind": ["a"]})


def test_an_empty_folder_is_told(run: shoal.Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the folder has no files in it"):
        run.predict(tmp_path)


def test_a_run_on_text_is_sampled(tmp_path: Path) -> None:
    model = {"name": "gpt", "width": 8, "depth": 1, "heads": 2}
    keys = {"model": model, "task": "language_modelling", "budget": {"steps": 1}, "batch_size": 2}
    found = shoal.train(keys, dataset=shoal.text("abc" * 100, context=8), runs=tmp_path, quiet=True)
    with pytest.raises(InputError, match=r"was trained on text, which is sampled: run.sample\(prompt\)"):
        found.predict(X)


def test_other_rows_without_splits_are_tested_all(table: shoal.Run, tmp_path: Path) -> None:
    new = pandas.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "kind": ["a", "b", "a", "b"], "price": [2.0, 5.0, 6.0, 9.0]})
    new.to_csv(tmp_path / "new.csv", index=False)
    found = table.test(path=str(tmp_path / "new.csv"))
    predicted = np.array(table.predict(new).predicted)
    assert found["test.loss"] == pytest.approx(np.square(predicted - new["price"].to_numpy()).mean(), rel=1e-4)
    with pytest.raises(InputError, match=r"has no test split; it has: train, valid"):
        table.test()  # its own data were cut


def test_several_values_are_told_under_their_names(tmp_path: Path) -> None:
    pandas.DataFrame({**ROWS, "rent": ROWS["size"]}).to_csv(tmp_path / "rows.csv", index=False)
    dataset = {"name": "table", "path": str(tmp_path / "rows.csv"), "target": ["price", "rent"]}
    keys = {**QUICK, "task": "regression", "batch_size": 16, "budget": {"steps": 5}}
    found = shoal.train(keys, dataset=dataset, runs=tmp_path, quiet=True).predict({"size": [1.0], "kind": ["a"]})
    assert list(found.rows()[0]["predicted"]) == ["price", "rent"]
