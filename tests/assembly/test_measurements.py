"""What was measured is remembered for this machine by signature; a cache, without which all goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from shoal.assembly import measurements
from shoal.assembly.measurements import remember, remembered
from shoal.training.compiled import no_compiler
from shoal.training.execution import Measured

CPU = torch.device("cpu")
FACTS = Measured(2, eager=1e-3, captured=5e-4, heavy=1e-4, nodes=90, compiled=2e-4, compile_seconds=9.5)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SHOAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "plans"


def test_it_is_remembered_by_signature_threads_and_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    assert remembered("abc", CPU, threads=2) is None
    remember("abc", CPU, FACTS, threads=2)
    assert remembered("abc", CPU, threads=2) == FACTS
    assert remembered("abd", CPU, threads=2) is None
    assert remembered("abc", CPU, threads=1) is None
    assert remembered("abc", torch.device("meta"), threads=2) is None
    remember("abc", CPU, replace(FACTS, eager=3e-3), threads=2)
    assert remembered("abc", CPU, threads=2) == replace(FACTS, eager=3e-3)
    assert remembered("abc", CPU, threads=2, channels_last=True) is None
    with monkeypatch.context() as other:
        other.setattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
        assert remembered("abc", CPU, threads=2) is None
    for name in ("version", "processor"):
        with monkeypatch.context() as other:
            other.setattr(measurements, name, lambda *_: "another")
            assert remembered("abc", CPU, threads=2) is None
    monkeypatch.setattr(torch, "__version__", "3.0")
    assert remembered("abc", CPU, threads=2) is None


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b"{}", b'{"threads": 2}', b'"text"', b"3",
     json.dumps({**FACTS.plain(), "threads": "2"}).encode(),
     json.dumps({**FACTS.plain(), "eager": None, "x": 1}).encode(),
     json.dumps({**FACTS.plain(), "captured": "fast"}).encode()],
)  # fmt: skip
def test_a_damaged_file_is_as_none(content: bytes, cache: Path) -> None:
    remember("abc", CPU, FACTS, threads=2)
    (file,) = cache.iterdir()
    file.write_bytes(content)
    assert remembered("abc", CPU, threads=2) is None
    remember("abc", CPU, FACTS, threads=2)
    assert remembered("abc", CPU, threads=2) == FACTS


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.parent.write_text("a file where the folder should be")
    remember("abc", CPU, FACTS, threads=2)
    assert remembered("abc", CPU, threads=2) is None


def test_without_a_home_there_is_nothing_to_remember(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("SHOAL_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(Path, "expanduser", homeless)
    remember("abc", CPU, FACTS, threads=2)
    assert remembered("abc", CPU, threads=2) is None


def test_that_there_is_no_compiler_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be one tomorrow; what a compiler said of this step is kept."""
    missing: Any = "there is no C++ compiler on this machine"
    monkeypatch.setattr(measurements, "no_compiler", lambda: missing)
    uncompiled = replace(FACTS, compiled=None, compile_seconds=None)
    remember("none", CPU, replace(uncompiled, not_compiled=missing).decided("captured", 9), threads=2)
    assert remembered("none", CPU, threads=2) == uncompiled  # the choice was made without a compiler
    chosen = replace(uncompiled, not_compiled="inductor failed").decided("captured", 9)
    remember("failed", CPU, chosen, threads=2)
    assert remembered("failed", CPU, threads=2) == chosen
    remember("abc", CPU, replace(uncompiled, not_compiled=missing), threads=2)
    assert remembered("abc", CPU, threads=2) == uncompiled
    remember("abc", CPU, replace(uncompiled, not_compiled="inductor failed"), threads=2)
    assert remembered("abc", CPU, threads=2) == replace(uncompiled, not_compiled="inductor failed")
    assert no_compiler() != missing


def test_that_a_step_cannot_be_captured_is_not_remembered(cache: Path) -> None:
    remember("abc", CPU, Measured(2, eager=1e-3, refused="it has a counter"), threads=2)
    assert remembered("abc", CPU, threads=2) is None
    assert not cache.exists()


def test_a_processor_has_a_name_or_none() -> None:
    assert isinstance(measurements.processor(), str)
