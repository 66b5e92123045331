"""Weights to start from, made to do harm: files of safetensors that lie, and runs whose checkpoint is another's."""

from __future__ import annotations

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.limited import limited, needs_limits
from torch import nn

import shoal
from shoal.assembly.start import start
from shoal.assembly.weight_source import encoding_at
from shoal.checkpoints import save
from shoal.errors import CheckpointError
from shoal.recipe import parse
from shoal.store import RunFolder, record

pytestmark = needs_limits


def safetensors(header: Any, content: bytes = bytes(48), *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + content


def entry(shape: Any = (3, 4), offsets: Any = (0, 48), dtype: Any = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


ATTACKS: dict[str, bytes] = {
    "a header of an exabyte": safetensors({}, length=1 << 60),
    "a header of half a gigabyte": safetensors({}, length=1 << 29),
    "a header beyond the file": safetensors({}, length=200),
    "a deep header": safetensors(b'{"weight": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    "no JSON": safetensors(b"{'weight'"),
    "not UTF-8": safetensors(b'{"\xff": 1}'),
    "offsets out of range": safetensors({"weight": entry(offsets=(0, 1 << 40), shape=(1 << 38,))}),
    "offsets that overlap": safetensors({"weight": entry(), "bias": entry((3,), (0, 12))}),
    "offsets that leave a gap": safetensors({"weight": entry((3,), (36, 48))}),
    "offsets the wrong way round": safetensors({"weight": entry(offsets=(48, 0))}),
    "offsets below zero": safetensors({"weight": entry(offsets=(-48, 0))}),
    "a shape beyond its bytes": safetensors({"weight": entry((1 << 40,))}),
    "a shape that overflows": safetensors({"weight": entry((1 << 33, 1 << 31, 4))}),
    "a dtype that is none": safetensors({"weight": entry(dtype="O")}),
    "too few bytes": safetensors({"weight": entry()}, bytes(40)),
    "too many bytes": safetensors({"weight": entry()}, bytes(4096)),
    "a pickle": pickle.dumps([1]),
    "nothing": b"",
}


def begin(path: Path) -> None:
    start(parse({"init": {"from": str(path)}}).init, nn.Linear(4, 3), runs=path.parent)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_file_that_lies_is_refused_in_little_memory(attack: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(ATTACKS[attack])
    outcome = limited(lambda: begin(path))
    assert outcome.error == "RecipeError", outcome
    assert outcome.message.startswith(f"init.from = {path}: this is no complete safetensors file (")


def test_a_file_of_a_terabyte_of_nothing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"weight": entry()}))
    os.truncate(path, 1 << 40)
    outcome = limited(lambda: begin(path))
    assert (outcome.error, "no complete safetensors file" in outcome.message) == ("RecipeError", True)


@pytest.mark.parametrize("said", ["[" * 100_000, "[1]", "3", "null", "{", '"text"'])
def test_what_a_file_says_of_its_inputs_is_not_believed(said: str, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file({"weight": torch.zeros(3, 4), "bias": torch.zeros(3)}, path, metadata={"encoding": said})
    assert encoding_at(str(path), tmp_path) == {}
    begin(path)


KEYS: dict[str, Any] = {"digits": {"budget.steps": 4, "evaluate.every": 4, "model.width": 4}}
STATES: dict[str, Any] = {
    "nothing": {},
    "no weights": {"engine": {}, "callbacks": {}},
    "a list": {"engine": [1], "callbacks": []},
    "a number": {"engine": 3, "callbacks": None},
    "weights that are numbers": {"engine": {"parameters": {"a": 1}, "buffers": {}, "best": None}, "callbacks": {}},
    "weights of another model": {
        "engine": {"parameters": {"a": torch.zeros(1 << 10)}, "buffers": {}, "best": None},
        "callbacks": {},
    },
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = shoal.train("digits_mlp", KEYS["digits"], runs=tmp_path_factory.mktemp("trained"), quiet=True)
    return run.folder


@pytest.mark.parametrize("states", STATES)
def test_a_checkpoint_of_another_hand_is_refused_in_a_sentence(states: str, trained: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / trained.parent.name / trained.name)
    folder.path.mkdir(parents=True)
    for file in ("recipe.yaml", "run.json", "history.jsonl"):
        (folder.path / file).write_bytes((trained / file).read_bytes())
    save(folder.checkpoints, 9, STATES[states], {})
    with pytest.raises(CheckpointError) as predicting:
        shoal.load(folder.path).model()
    record.update(folder, status="stopped")
    with pytest.raises(CheckpointError) as resuming:
        shoal.train("digits_mlp", KEYS["digits"], runs=tmp_path, quiet=True)
    for error in (predicting, resuming):
        assert "step-00000009: it is whole, but holds no state" in str(error.value) or "another model" in str(
            error.value
        )
    assert record.read(folder)["status"] == "failed"
