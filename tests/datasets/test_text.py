"""Text: blocks that share memory, targets one token later, a valid split that trained blocks never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.datasets import Data, Examples, build
from shoal.datasets.text import from_text
from shoal.errors import DataError, RecipeError
from shoal.recipe.parts import PlainText

TEXT = "what is in a name? that which we call a rose by any other name would smell as sweet.\n" * 20


def load(path: Path, **fields: Any) -> Data:
    return build(PlainText(path=str(path), **fields))


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def blocks(data: Data, split: str) -> Examples:
    found = data.splits[split]
    assert isinstance(found, Examples)
    return found


def said(data: Data, tokens: torch.Tensor) -> str:
    assert data.encoding is not None
    return "".join(data.encoding["characters"][int(token)] for token in tokens)


def test_targets_are_the_inputs_one_character_later(tmp_path: Path) -> None:
    data = load(written(tmp_path / "a.txt", TEXT), context=16)
    train = blocks(data, "train")
    assert said(data, train.inputs[0]) == TEXT[:16]
    assert said(data, train.targets[0]) == TEXT[1:17]
    assert said(data, train.inputs[3]) == TEXT[48:64]
    assert data.classes == len(set(TEXT))
    assert data.input_shape == data.target_shape == (16,)
    assert train.tokens


def test_overlapping_blocks_share_the_memory_of_the_text(tmp_path: Path) -> None:
    data = load(written(tmp_path / "a.txt", TEXT), context=16, stride=1, valid=0)
    train = blocks(data, "train")
    assert len(train) == len(TEXT) - 16
    assert train.inputs.untyped_storage().nbytes() <= len(TEXT)
    assert said(data, train.inputs[5]) == TEXT[5:21]


@given(length=st.integers(30, 400), context=st.integers(1, 9), stride=st.integers(1, 12))
def test_no_target_of_valid_is_in_train(length: int, context: int, stride: int) -> None:
    text = "".join(chr(33 + place) for place in range(length))  # each character once: a place is known by what it is
    data = from_text(text, context=context, stride=stride, valid=0.2)
    train, valid = blocks(data, "train"), blocks(data, "valid")
    seen = set(train.inputs.flatten().tolist()) | set(train.targets.flatten().tolist())
    assert not seen & set(valid.targets.flatten().tolist())
    assert not seen & set(valid.inputs.flatten().tolist()) - {int(valid.inputs[0, 0])}
    assert int(valid.targets[-1, -1]) == length - 1  # valid reaches the end
    assert "valid: the last" in " ".join(data.notes)


def test_a_folder_has_its_splits(tmp_path: Path) -> None:
    for split in ("train", "valid", "test"):
        written(tmp_path / f"{split}.txt", TEXT + split)
    data = load(tmp_path, context=8)
    assert set(data.sizes) == {"train", "valid", "test"}
    with pytest.raises(DataError, match=r"valid"):
        load(tmp_path, context=8, valid=0.5)


def test_identity_is_the_text_and_what_a_token_is_not_the_file(tmp_path: Path) -> None:
    first = load(written(tmp_path / "a.txt", TEXT), context=8).digest
    assert load(written(tmp_path / "b" / "other.txt", TEXT), context=8).digest == first
    assert load(written(tmp_path / "c.txt", TEXT + "!"), context=8).digest != first
    assert load(tmp_path / "a.txt", context=8, tokenizer="bytes").digest != first
    assert from_text(TEXT, context=8).digest == first
    moved = TEXT.translate(str.maketrans("ab", "ba"))  # the same tokens for another alphabet would not be the same text
    assert from_text(moved, context=8).digest != first


def test_line_ends_stay_what_they_are(tmp_path: Path) -> None:
    data = load(written(tmp_path / "a.txt", "one\r\ntwo\r\n" * 20), context=8)
    assert data.encoding is not None
    assert "\r" in data.encoding["characters"]


def test_bytes_read_what_is_no_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"caf\xe9 " * 30)
    with pytest.raises(DataError, match=r"byte 3 is not UTF-8.*dataset.tokenizer=bytes"):
        load(path, context=8)
    data = load(path, context=8, tokenizer="bytes")
    assert data.classes == 256
    assert blocks(data, "train").inputs[0].tolist() == list(b"caf\xe9 caf")


def test_bits_a_character_count_characters_not_bytes(tmp_path: Path) -> None:
    data = load(written(tmp_path / "a.txt", "é" * 100), context=8, tokenizer="bytes")
    assert data.encoding is not None
    assert data.encoding["characters_per_token"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"train: the text has 0 tokens: expected at least 9, for blocks of dataset.context tokens \(one\)"),
        ("short", r"train: the text has 5 tokens.*Give a smaller dataset.context, or more text"),
        ("a" * 17, r"the text has 17 tokens: expected at least 18.*\(1 of valid and one more\)"),
    ],
)
def test_a_text_shorter_than_a_block_is_refused(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message):
        load(written(tmp_path / "a.txt", text), context=8)


def test_a_path_that_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no.txt.*does not exist; expected a text file, or a folder with train.txt"):
        load(tmp_path / "no.txt")
    with pytest.raises(DataError, match=r"has no train.txt"):
        load(tmp_path)
    with pytest.raises(DataError, match=r"dataset.path is not set"):
        build(PlainText())


def test_a_split_that_is_none_is_refused_from_python() -> None:
    with pytest.raises(DataError, match=r"tset"):
        from_text({"train": TEXT, "tset": TEXT}, context=8)


def test_settings_from_python_are_those_of_the_recipe() -> None:
    data = from_text(TEXT, context=8, stride=8, valid=5)
    assert data.part is not None
    assert {key: data.part[key] for key in ("name", "context", "stride", "valid")} == {
        "name": "text",
        "context": 8,
        "stride": None,
        "valid": 5,
    }


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"context": 0}, r"dataset.context = 0: expected a number of at least 1"),
        ({"context": 2.5}, r"dataset.context = 2.5"),
        ({"context": "8"}, r"dataset.context = '?8'?: expected"),
        ({"stride": 0}, r"dataset.stride = 0: expected a number of at least 1"),
        ({"valid": -1}, r"dataset.valid = -1"),
        ({"valid": True}, r"dataset.valid = true: expected a number"),
        ({"valid": float("nan")}, r"dataset.valid = "),
    ],
)
def test_settings_out_of_range_are_refused(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        from_text(TEXT, **keys)


@pytest.mark.parametrize("text", [None, b"bytes", Path("book.txt"), ["a", "b"], {"train": 5}])
def test_what_is_no_text_is_refused(text: Any) -> None:
    with pytest.raises(DataError, match=r"train: found a .*: expected a text, such as Path\('book.txt'\).read_text"):
        from_text(text, context=8)
