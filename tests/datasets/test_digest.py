from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from shoal.datasets import build, from_objects
from shoal.datasets.digest import digest
from shoal.datasets.examples import Examples


def pairs() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    source = np.random.default_rng(0)
    return {
        name: (source.normal(size=(n, 3)).astype("f4"), np.arange(n) % 3) for name, n in (("train", 30), ("test", 6))
    }


def test_one_content_has_one_digest_whatever_holds_it(tmp_path: Path, part: Callable[..., Any]):
    named = {f"{letter}_{split}": a for split, pair in pairs().items() for letter, a in zip("xy", pair, strict=True)}
    np.savez(tmp_path / "a.npz", **named)
    np.savez_compressed(tmp_path / "b.npz", **named)
    (tmp_path / "folder").mkdir()
    for name, array in named.items():
        np.save(tmp_path / "folder" / f"{name}.npy", array)
    found = {build(part(path=str(tmp_path / name))).digest for name in ("a.npz", "b.npz", "folder")}
    found.add(from_objects(pairs(), part()).digest)
    found.add(from_objects({k: tuple(map(torch.from_numpy, v)) for k, v in pairs().items()}, part(valid=0)).digest)
    found.add(from_objects(dict(reversed(pairs().items())), part()).digest)
    found.add(from_objects({k: (np.asfortranarray(x), y) for k, (x, y) in pairs().items()}, part()).digest)
    found.add(from_objects({k: (x.astype(">f4"), y) for k, (x, y) in pairs().items()}, part()).digest)
    assert len(found) == 1


def test_any_change_of_content_changes_the_digest(part: Callable[..., Any]):
    def with_train(x: Any, y: Any) -> str:
        return from_objects({**pairs(), "train": (x, y)}, part()).digest

    x, y = pairs()["train"]
    changed = x.copy()
    changed[7, 1] = np.nextafter(changed[7, 1], 9, dtype=np.float32)
    found = [with_train(x, y), with_train(changed, y), with_train(x, (y + 1) % 3), with_train(x.astype("f8"), y)]
    found.append(with_train(x[::-1], y))
    assert len(set(found)) == len(found)


def test_a_digest_is_the_same_in_years_to_come(part: Callable[..., Any]):
    x, y = np.arange(6, dtype=np.uint8).reshape(3, 2), np.array([0, 1, 1], np.int64)
    assert from_objects((x, y), part()).digest == "4d0217fe6f186ff4ec38044227f706d107e6e79a137ee00d9ddb0ddcf7194853"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.bool])
def test_types_that_numpy_lacks_have_digests(dtype: torch.dtype, part: Callable[..., Any]):
    assert len(from_objects((torch.ones(3, 2).to(dtype), torch.tensor([0, 1, 0])), part()).digest) == 64


def test_an_axis_of_one_may_have_any_stride() -> None:
    """NumPy's `values[:, None]` has a stride of zero there, and is contiguous."""
    values = torch.arange(6.0)
    odd = values.as_strided((6, 1), (1, 0))
    assert digest({"train": Examples(odd, values)}) == digest({"train": Examples(values.view(6, 1).clone(), values)})
