"""What a checkpoint can hold, and that equal states have equal bytes."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import enum
import io
import random
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shoal.checkpoints import newest, plain, save
from shoal.errors import CheckpointError


@dataclasses.dataclass
class Record:
    x: int = 1


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    x: int


NOT_PLAIN: dict[str, Any] = {
    "float64": np.float64(1.0),
    "int64": np.int64(1),
    "ndarray": np.zeros(2),
    "PosixPath": Path("x"),
    "Record": Record(),
    "datetime": datetime.datetime(2026, 1, 1),
    "timedelta": datetime.timedelta(1),
    "deque": collections.deque([1]),
    "set": {1},
    "bytes": b"x",
    "complex": 1j,
    "Level": Level.LOW,
    "Pair": Pair(1),
    "Generator": torch.Generator(),
    "dtype": torch.float32,
    "function": len,
}


@pytest.mark.parametrize("kind", NOT_PLAIN)
def test_what_is_not_plain_is_refused_when_it_is_saved_and_named(kind: str, tmp_path: Path) -> None:
    value = NOT_PLAIN[kind]
    with pytest.raises(
        CheckpointError, match=rf"engine\.optimizer\[1\]\.lr is a \S*{type(value).__name__}, which"
    ) as e:
        save(tmp_path, 1, {"engine": {"optimizer": [0, {"lr": value}]}}, {})
    assert "float(x) for a NumPy scalar" in str(e.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("key", [1.5, (1, 2), None, np.int64(1)])
def test_a_key_that_is_no_text_is_refused(key: Any) -> None:
    with pytest.raises(CheckpointError, match=r"state\.slots has the key .*: expected a text or an int"):
        plain({"slots": {key: 1}})


def test_a_tensor_that_is_not_dense_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"state\.mask is a torch\.sparse_coo tensor"):
        plain({"mask": torch.eye(2).to_sparse()})
    with pytest.raises(CheckpointError, match=r"state\.mask is a meta tensor"):
        plain({"mask": torch.empty(2, device="meta")})


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=20,
)


@given(values)
def test_what_is_plain_comes_back_equal(value: Any) -> None:
    assert plain(value) == value
    assert torch.load(io.BytesIO(serialised(value)), weights_only=True) == value


def test_what_comes_back_has_the_types_that_were_saved(tmp_path: Path) -> None:
    saved = {"flag": True, "one": 1, "real": 1.0, "text": "1", "none": None, "many": [1, 2.0]}
    save(tmp_path, 1, {"all": saved}, {})
    loaded = newest(tmp_path)
    assert loaded is not None
    assert {key: type(value) for key, value in loaded.states["all"].items()} == {k: type(v) for k, v in saved.items()}


def test_tensors_come_back_bit_for_bit_in_every_dtype(tmp_path: Path) -> None:
    bits = torch.randint(0, 256, (64,), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    dtypes = [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.complex64]
    saved = {str(dtype): bits.view(dtype).reshape(2, -1) for dtype in dtypes} | {"empty": torch.zeros(0, 3)}
    save(tmp_path, 1, {"all": saved}, {})
    loaded = newest(tmp_path)
    assert loaded is not None
    for name, value in saved.items():
        found = loaded.states["all"][name]
        assert found.dtype == value.dtype
        assert found.shape == value.shape
        assert torch.equal(found.reshape(-1).view(torch.uint8), value.reshape(-1).view(torch.uint8))


def serialised(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(plain(state), buffer)
    return buffer.getvalue()


def test_equal_states_have_equal_bytes_whatever_the_history_of_their_texts() -> None:
    name = "".join(["momentum", "_", "buffer"])  # not the constant of the next line
    once = [{"momentum_buffer": 1}, {"momentum_buffer": "momentum_buffer"}]
    apart = [{name: 1}, {"".join(list(name)): "".join(list(name))}]
    assert serialised(once) == serialised(apart)


def test_equal_states_have_equal_bytes_whatever_the_history_of_their_tensors(tmp_path: Path) -> None:
    base = torch.randn(6, 8, generator=torch.Generator().manual_seed(0))
    save(tmp_path, 1, {"all": [base, base.clone()]}, {})
    loaded = newest(tmp_path)
    assert loaded is not None
    histories = {
        "copies": [base.clone(), base.clone()],
        "one tensor twice": [base, base],
        "views of more": [torch.cat([base, base])[:6], torch.cat([base, base])[6:]],
        "other strides": [base.t().contiguous().t(), base.t().clone(memory_format=torch.preserve_format).t()],
        "parameters": [nn.Parameter(base), nn.Parameter(base.clone())],
        "with gradients": [(base.clone().requires_grad_() * 1.0), base],
        "loaded": loaded.states["all"],
    }
    bytes_of = {name: serialised(tensors) for name, tensors in histories.items()}
    assert {name for name, data in bytes_of.items() if data != bytes_of["copies"]} == set()


def test_equal_states_have_equal_bytes_whether_tuples_or_lists_or_shared() -> None:
    inner = [1, 2]
    assert serialised({"a": inner, "b": inner}) == serialised({"a": (1, 2), "b": [1, 2]})


def test_a_view_is_saved_without_the_memory_it_is_a_view_of() -> None:
    assert len(serialised({"x": torch.zeros(1_000_000)[:10]})) < 5_000


def test_pythons_random_state_is_plain_as_a_list() -> None:
    version, numbers, gauss = random.getstate()
    assert plain([version, list(numbers), gauss])
