"""Nothing that was damaged or made by others is loaded; the checkpoint before it is, and both are named."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.checkpoints import damage, load, newest, save, set_aside
from shoal.checkpoints.save import checksum
from shoal.errors import CheckpointError, OutOfMemoryError

FILES = ["engine.pt", "callbacks.pt", "manifest.json"]


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def zero_page(data: bytes) -> bytes:
    start = len(data) // 2 // 512 * 512
    return data[:start] + bytes(min(4096, len(data) - start)) + data[start + 4096 :]


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "a bit flipped in the middle": lambda data: flip(data, len(data) * 4),
    "the first bit flipped": lambda data: flip(data, 0),
    "the last bit flipped": lambda data: flip(data, len(data) * 8 - 1),
    "a page zeroed": zero_page,
    "cut to nothing": lambda data: b"",
    "cut to one byte": lambda data: data[:1],
    "cut to half": lambda data: data[: len(data) // 2],
    "cut by one byte": lambda data: data[:-1],
    "a byte too long": lambda data: data + b"\0",
}


def assert_falls_back(checkpoints: Path, file: str) -> None:
    """Step 20 is refused by the name of its damaged file, and step 10 is loaded instead."""
    newer = checkpoints / "step-00000020"
    reason = damage(newer)
    assert reason is not None
    assert reason.startswith(f"{newer / file}: ")
    with pytest.raises(CheckpointError) as e:
        load(newer)
    assert str(e.value) == reason
    loaded = newest(checkpoints)
    assert loaded is not None
    assert loaded.step == 10
    assert loaded.states["engine"]["steps"] == 10
    assert dict(loaded.passed_over) == {newer: reason}


def test_what_was_saved_comes_back(checkpoints: Path) -> None:
    loaded = newest(checkpoints)
    assert loaded is not None
    expected = torch.randn(40, 50, generator=torch.Generator().manual_seed(20))
    assert loaded.step == 20
    assert torch.equal(loaded.states["engine"]["weights"]["layer.weight"], expected)
    assert loaded.states["callbacks"] == {"best": {"value": 20 / 3}}
    assert loaded.meta["position"] == [0, 0, 20]
    assert not loaded.passed_over


@pytest.mark.parametrize("kind", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_refused_by_name_and_the_checkpoint_before_is_loaded(
    file: str, kind: str, checkpoints: Path
) -> None:
    path = checkpoints / "step-00000020" / file
    path.write_bytes(DAMAGES[kind](path.read_bytes()))
    assert_falls_back(checkpoints, file)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_refused_by_name(file: str, checkpoints: Path) -> None:
    (checkpoints / "step-00000020" / file).unlink()
    assert_falls_back(checkpoints, file)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_bit_of_any_file_counts(checkpoints: Path, data: st.DataObject) -> None:
    path = checkpoints / "step-00000020" / data.draw(st.sampled_from(FILES))
    good = path.read_bytes()
    path.write_bytes(flip(good, data.draw(st.integers(0, 8 * len(good) - 1))))
    try:
        assert damage(path.parent) is not None
    finally:
        path.write_bytes(good)


def test_every_byte_of_the_manifest_counts(checkpoints: Path) -> None:
    path = checkpoints / "step-00000020" / "manifest.json"
    good = path.read_bytes()
    unnoticed: list[int] = []
    for byte in range(len(good)):
        path.write_bytes(flip(good, 8 * byte + byte % 8))
        if damage(path.parent) is None:
            unnoticed.append(byte)
    assert unnoticed == []


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", '"x"', '{"format": 1}', '{"format": "1", "files": {}}', "[" * 100_000, "\xff"]
)
def test_a_manifest_that_is_none_is_refused(text: str, checkpoints: Path) -> None:
    (checkpoints / "step-00000020" / "manifest.json").write_bytes(text.encode("latin-1"))
    assert_falls_back(checkpoints, "manifest.json")


def rewrite(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest and make its checksum right: what somebody would do who means it."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_bytes())
    change(manifest)
    manifest["sha256"] = checksum(manifest)
    path.write_text(json.dumps(manifest))


def forge(folder: Path, name: str, data: bytes) -> None:
    """Replace a file and make the manifest right for it."""
    (folder / name).write_bytes(data)
    facts = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(folder, lambda manifest: manifest["files"].update({name: facts}))


def test_a_newer_format_is_refused_with_what_to_do(checkpoints: Path) -> None:
    rewrite(checkpoints / "step-00000020", lambda manifest: manifest.update(format=99))
    assert_falls_back(checkpoints, "manifest.json")
    assert "of format 99, newer than this Shoal reads (1): upgrade Shoal" in str(damage(checkpoints / "step-00000020"))


def test_a_checkpoint_under_the_name_of_another_step_is_refused(checkpoints: Path) -> None:
    shutil.copytree(checkpoints / "step-00000010", checkpoints / "step-00000030")
    assert "of step 10, in the folder of another" in str(damage(checkpoints / "step-00000030"))


@pytest.mark.parametrize("name", ["../x.pt", "../step-00000010/engine.pt", "/etc/hostname", "a/b.pt", "", ".", ".."])
def test_a_manifest_cannot_name_a_file_elsewhere(name: str, checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = checkpoints / "step-00000020"
    (checkpoints / "x.pt").write_bytes((folder / "engine.pt").read_bytes())
    rewrite(folder, lambda manifest: manifest["files"].update({name: manifest["files"]["engine.pt"]}))
    assert_falls_back(checkpoints, "manifest.json")
    assert f"names {name!r}, which is not a file of this checkpoint" in str(damage(folder))


def test_a_link_out_of_the_checkpoint_is_not_followed(checkpoints: Path) -> None:
    folder = checkpoints / "step-00000020"
    (folder / "engine.pt").rename(checkpoints / "elsewhere.pt")
    (folder / "engine.pt").symlink_to(checkpoints / "elsewhere.pt")
    assert_falls_back(checkpoints, "manifest.json")


class Touch:
    """Unpickled in the ordinary way, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def zipped(state: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "wrap", [zipped, pickle.dumps, lambda state: zipped({"x": [1, state]})], ids=["zip", "bare", "in"]
)
def test_a_malicious_file_with_a_right_manifest_is_refused_and_not_run(
    wrap: Callable[[Any], bytes], checkpoints: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    forge(checkpoints / "step-00000020", "engine.pt", wrap(Touch(trap)))
    loaded = newest(checkpoints)
    assert loaded is not None
    assert loaded.step == 10
    assert "engine.pt: cannot be loaded" in loaded.passed_over[checkpoints / "step-00000020"]
    assert not trap.exists()


def test_an_archive_that_unpacks_to_more_than_itself_is_refused(checkpoints: Path) -> None:
    source = zipfile.ZipFile(io.BytesIO(zipped({"x": torch.zeros(1_000_000)})))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member in source.infolist():
            archive.writestr(member.filename, source.read(member))
    assert len(packed.getvalue()) < 20_000
    assert torch.load(io.BytesIO(packed.getvalue()), weights_only=True)["x"].numel() == 1_000_000  # torch would
    forge(checkpoints / "step-00000020", "engine.pt", packed.getvalue())
    with pytest.raises(CheckpointError, match=r"engine\.pt: cannot be loaded \(ValueError: compressed"):
        load(checkpoints / "step-00000020")


def test_a_file_of_another_size_is_not_even_read(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = checkpoints / "step-00000020" / "engine.pt"
    os.truncate(path, 1 << 40)  # a terabyte of nothing
    read = Path.read_bytes

    def guarded(self: Path) -> bytes:
        assert self != path
        return read(self)

    monkeypatch.setattr(Path, "read_bytes", guarded)
    assert "1,099,511,627,776 bytes, expected" in str(damage(path.parent))


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: not enough memory: you tried")])
def test_running_out_of_memory_is_no_damage(
    error: Exception, checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(torch, "load", fail)
    with pytest.raises(
        OutOfMemoryError, match=r"step-00000020: there was not enough memory left to load its [\d.]+ kB\."
    ):
        newest(checkpoints)


def test_without_checkpoints_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path / "missing") is None
    (tmp_path / "step-00000010.tmp-1").mkdir()
    (tmp_path / "notes").mkdir()
    assert newest(tmp_path) is None


def test_when_all_are_damaged_that_is_an_error_and_nothing_is_deleted(checkpoints: Path) -> None:
    (checkpoints / "step-00000010" / "engine.pt").unlink()
    (checkpoints / "step-00000020" / "manifest.json").write_text("{")
    before = sorted(checkpoints.rglob("*"))
    with pytest.raises(CheckpointError) as e:
        newest(checkpoints)
    message = str(e.value)
    assert message.startswith("no checkpoint can be trusted:\n")
    assert f"{checkpoints / 'step-00000010' / 'engine.pt'}: No such file" in message
    assert f"{checkpoints / 'step-00000020' / 'manifest.json'}: damaged" in message
    assert "Nothing was deleted." in message
    assert "--again" in message
    assert sorted(checkpoints.rglob("*")) == before


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for step in (99_999_999, 100_000_000, 5):
        save(tmp_path, step, {"engine": {}}, {})
    loaded = newest(tmp_path)
    assert loaded is not None
    assert loaded.step == 100_000_000


def test_a_step_can_be_saved_again_once_its_damaged_checkpoint_was_set_aside(checkpoints: Path) -> None:
    folder = checkpoints / "step-00000020"
    for number, name in enumerate(["step-00000020.damaged", "step-00000020.damaged-2"]):
        (folder / "engine.pt").write_bytes(b"")
        assert set_aside(folder).name == name
        assert (checkpoints / name / "engine.pt").read_bytes() == b""
        assert save(checkpoints, 20, {"engine": {"again": number}}, {}) == folder
        loaded = newest(checkpoints)
        assert loaded is not None
        assert (loaded.step, loaded.states["engine"], loaded.passed_over) == (20, {"again": number}, {})


def test_torch_is_always_asked_for_weights_only(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = torch.load

    def recorded(*arguments: Any, **keywords: Any) -> Any:
        asked.append(keywords.get("weights_only"))
        return original(*arguments, **keywords)

    monkeypatch.setattr(torch, "load", recorded)
    newest(checkpoints)
    assert asked == [True, True]
