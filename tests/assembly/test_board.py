"""What TensorBoard shows beside the history: written once, of the weights that count, left out with a sentence."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.compat.proto.graph_pb2 import GraphDef
from tensorboard.plugins.hparams import metadata
from tests.assembly.boards import as_float32, read, scalars
from torch import Tensor, nn

import shoal
from shoal.assembly import Objects
from shoal.assembly.board import write_board
from shoal.errors import StoreError
from shoal.pages.board_files import board_files, event_files
from shoal.store import RunFolder

QUICK = {"budget.steps": 20, "evaluate.every": 10}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> shoal.Run:
    settings = {**QUICK, "best.metric": "valid.loss", "log.tensorboard": True}
    return shoal.train("digits_mlp", settings, runs=tmp_path_factory.mktemp("runs"), quiet=True)


def graph(folder: Path) -> dict[str, Any]:
    return {node.name: node for node in GraphDef.FromString(read(folder).Graph().SerializeToString()).node}


def test_the_board_is_whole(trained: shoal.Run) -> None:
    board = trained.folder / "tensorboard"
    assert [path.name for path in board_files(board)[1:]] == ["projector_config.pbtxt", "projector"]
    found = scalars(board)
    final = {name.removeprefix("final/"): value for name, value in found.items() if name.startswith("final/")}
    assert final == {name: [(20, as_float32(value))] for name, value in trained.metrics.items()}
    contents = read(board).PluginTagToContent("hparams")
    assert metadata.parse_session_end_info_plugin_data(contents[metadata.SESSION_END_INFO_TAG]).status == 1


def test_the_graph_has_operations_under_their_modules_with_shapes(trained: shoal.Run) -> None:
    nodes = graph(trained.folder / "tensorboard")
    assert {"outputs", "output/weight", "output/bias", "linear1/weight"} <= set(nodes)
    (last,) = nodes["outputs"].input
    assert last.startswith("output/linear")
    (shape,) = nodes[last].attr["_output_shapes"].list.shape
    assert [dim.size for dim in shape.dim] == [2, 10]
    assert all(before in nodes for node in nodes.values() for before in node.input)


def test_the_pictures_are_the_first_batch_as_it_is_in_the_dataset(trained: shoal.Run) -> None:
    (event,) = read(trained.folder / "tensorboard").Images("first batch/train")
    sheet = np.asarray(Image.open(io.BytesIO(event.encoded_image_string)))
    assert sheet.shape == (6 * 9 + 1, 6 * 9 + 1)  # 32 pictures of 8 x 8 in rows of 6, a gap of 1
    from shoal.assembly import Workshop

    workshop = Workshop(trained.recipe)
    batch = next(iter(workshop.batches.start()))
    raw: Any = workshop.data.splits["train"]
    row = int(batch.index[7])
    picture = raw.inputs[row if raw.rows is None else raw.rows[row]][0].numpy()
    shown = sheet[10:18, 10:18].astype(float)  # the second of the second row
    assert np.abs(shown * 16 / 255 - picture).max() < 0.04


def test_the_projection_is_of_the_last_hidden_layer_of_valid(trained: shoal.Run) -> None:
    folder = trained.folder / "tensorboard" / "projector"
    rows = list(csv.reader((folder / "metadata.tsv").read_text().splitlines(), delimiter="\t"))
    vectors = np.loadtxt(folder / "vectors.tsv", delimiter="\t", dtype=np.float32)
    assert rows[0] == ["label", "predicted", "example"]
    assert len(rows) == len(vectors) + 1 == 181
    output = trained.model().get_submodule("output")
    assert isinstance(output, nn.Linear)
    guesses = output(torch.from_numpy(vectors)).argmax(1).tolist()
    assert [row[1] for row in rows[1:]] == [str(guess) for guess in guesses]
    right = np.mean([row[0] == row[1] for row in rows[1:]])
    assert right == pytest.approx(trained.metrics["valid.accuracy"])
    with Image.open(folder / "sprite.png") as sprite:
        assert sprite.size == (14 * 8, 14 * 8)
    config = (trained.folder / "tensorboard" / "projector_config.pbtxt").read_text()
    assert "projector/vectors.tsv" in config
    assert config.count("single_image_dim: 8") == 2


def test_a_board_is_written_for_a_run_that_was_trained_without(tmp_path: Path, trained: shoal.Run) -> None:
    run = shoal.train("digits_mlp", {**QUICK, "best.metric": "valid.loss"}, runs=tmp_path / "runs", quiet=True)
    assert not (run.folder / "tensorboard").exists()
    said: list[str] = []
    for _ in range(2):  # the second takes the place of the first
        write_board(tmp_path / "board", run.location, Objects(), said.append)
    assert said == []
    assert len(event_files(tmp_path / "board")) == 1
    assert scalars(tmp_path / "board") == scalars(trained.folder / "tensorboard")
    for name in ("metadata.tsv", "vectors.tsv", "sprite.png"):
        there = trained.folder / "tensorboard" / "projector" / name
        assert (tmp_path / "board" / "projector" / name).read_bytes() == there.read_bytes()
    assert graph(tmp_path / "board").keys() == graph(trained.folder / "tensorboard").keys()


class Odd(nn.Module):
    """A model without a linear layer, whose way depends on its values."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(4, outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight if x.sum() > 1e9 else x @ self.weight * 2


X, Y = torch.randn(80, 4).numpy(), torch.arange(80).numpy() % 3


def test_what_makes_no_sense_is_left_out_with_a_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = {**QUICK, "log.tensorboard": True}
    run = shoal.train({"name": "odd"}, settings, model=Odd, dataset=(X, Y), runs=tmp_path)
    said = capsys.readouterr().out
    assert run.status == "finished"
    assert "no graph: torch.export cannot follow the model: Could not guard on data-dependent" in said
    assert "no sheet of pictures: inputs of shape [4] are none" in said
    assert "no projection: the model has no nn.Linear" in said
    assert said.count("def forward") == 0
    assert set(scalars(run.folder / "tensorboard")) >= {"loss/train", "final/train.loss"}


def test_tokens_have_a_graph_and_no_projection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("to be or not to be, that is the question\n" * 30)
    recipe = {
        "name": "text",
        "dataset": {"name": "text", "path": str(text), "context": 8, "valid": 0.2},
        "model": {"name": "gpt", "width": 8, "depth": 1, "heads": 2},
        "task": {"name": "language_modelling"},
    }
    run = shoal.train(recipe, {**QUICK, "log.tensorboard": True}, runs=tmp_path / "runs")
    said = capsys.readouterr().out
    assert "no projection: an example has a label at each of its places" in said
    assert "embed/weight" in graph(run.folder / "tensorboard")
    assert "no graph" not in said


def test_what_is_missing_is_said_and_the_rest_is_written(tmp_path: Path) -> None:
    run = shoal.train({"name": "odd"}, QUICK, model=Odd, dataset=(X, Y), runs=tmp_path / "runs", quiet=True)
    said: list[str] = []
    write_board(tmp_path / "board", run.location, Objects(), said.append)
    assert len(said) == 2
    assert said[0].startswith("no pictures and no projection: ")
    assert said[1].startswith("no graph and no projection: the model of odd-")
    assert len(scalars(tmp_path / "board")["loss/train"]) == 2
    said.clear()
    write_board(tmp_path / "board", run.location, Objects(dataset=(X + 1, Y), model=Odd), said.append)
    assert said[0].startswith("no pictures and no projection: the data are not those that odd-")


def test_a_run_that_never_started_has_no_board(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"has no recipe\.yaml"):
        write_board(tmp_path / "board", RunFolder(tmp_path), Objects(), print)
    assert not (tmp_path / "board").exists()


def test_the_record_is_finished_before_the_board_is_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from shoal.assembly import board

    class BrokenError(Exception):
        pass

    def broken(*_: object) -> None:
        raise BrokenError

    monkeypatch.setattr(board, "graph_of", broken)
    with pytest.raises(BrokenError):
        shoal.train("digits_mlp", {"budget.steps": 2, "log.tensorboard": True}, runs=tmp_path, quiet=True)
    (record,) = tmp_path.glob("*/*/run.json")
    assert json.loads(record.read_text())["status"] == "finished"
