"""Checkpoints made to do harm: what they name is not called, what they claim is not allocated, and each is refused.

Their manifests are right, checksums and all: whoever gives away a run can make them so.
"""

from __future__ import annotations

import builtins
import codecs
import io
import os
import pickle
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tests.checkpoints.test_load import forge, rewrite, zipped
from tests.limited import Outcome, limited, needs_limits
from torch.utils import collect_env

from shoal.checkpoints import load, newest, plain
from shoal.checkpoints.names import check_archive
from shoal.errors import CheckpointError

pytestmark = needs_limits


class Call:
    """Unpickled in the ordinary way, it calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.called = function, arguments

    def __call__(self) -> None:
        """Be something that can be called, as a pickle demands of what it calls."""

    def __reduce__(self) -> Any:
        return self.called


def archive(pickled: bytes, **members: bytes) -> bytes:
    """Return a file as torch writes it, with a pickle in place of its own, and more members."""
    source, made = zipfile.ZipFile(io.BytesIO(zipped({"x": torch.arange(3.0)}))), io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        for member in source.infolist():
            own = member.filename.endswith("data.pkl")
            target.writestr(member.filename, pickled if own else source.read(member))
        for name, content in members.items():
            target.writestr(name, content)
    return made.getvalue()


def calling(function: Any, *arguments: Any, protocol: int = 2) -> bytes:
    return pickle.dumps({"parameters": [1, {"deep": Call(function, *arguments)}]}, protocol=protocol)


def text(word: str) -> bytes:
    return b"X" + len(word).to_bytes(4, "little") + word.encode()


EXPLOITS: dict[str, tuple[Callable[[str], bytes], str]] = {
    "os.system": (lambda trap: calling(os.system, f"touch {trap}"), "names posix.system"),
    "os.mkdir": (lambda trap: calling(os.mkdir, trap), "names posix.mkdir"),
    "exec": (lambda trap: calling(builtins.exec, f"open({trap!r}, 'w')"), "names __builtin__.exec"),
    "eval": (lambda trap: calling(builtins.eval, f"open({trap!r}, 'w')"), "names __builtin__.eval"),
    "open": (lambda trap: calling(open, trap, "w"), "names io.open"),
    "subprocess": (lambda trap: calling(subprocess.Popen, ["touch", trap]), "names commands.Popen"),
    "getattr of an import": (
        lambda trap: calling(Call(getattr, Call(builtins.__import__, "os"), "mkdir"), trap),
        "names __builtin__.getattr",
    ),
    "a shell within torch": (lambda trap: calling(collect_env.run, f"touch {trap}"), "names torch.utils.collect_env"),
    "ourselves": (lambda trap: b"\x80\x02cshoal.cli.boundary\nmain\n(](tR.", "names shoal.cli.boundary.main"),
    "what torch would let it call": (lambda trap: calling(codecs.encode, "x", "utf-8"), "names _codecs.encode"),
    "a bytearray of a terabyte": (lambda trap: calling(bytearray, 1 << 40), "names __builtin__.bytearray"),
    "a tensor subclass": (
        lambda trap: b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n.",
        "names torch._tensor._rebuild_from_type_v2",
    ),
    "a path of names": (lambda trap: b"\x80\x02ctorch\nos.system\n" + text(f"touch {trap}") + b"\x85R.", "torch.os"),
    "an old name": (lambda trap: b"c__builtin__\neval\n(V1\ntR.", "names __builtin__.eval"),
    "protocol 4": (lambda trap: calling(os.mkdir, trap, protocol=4), "it does FRAME"),
    "STACK_GLOBAL": (lambda trap: b"\x80\x02" + text("os") + text("system") + b"\x93.", "it does STACK_GLOBAL"),
    "INST": (lambda trap: b"(" + text(trap) + b"ios\nmkdir\n.", "it does INST"),
    "OBJ": (lambda trap: b"(ctorch\nFloatStorage\n" + text(trap) + b"o.", "it does OBJ"),
    "NEWOBJ": (lambda trap: b"\x80\x02ctorch\nFloatStorage\n)\x81.", "it does NEWOBJ"),
    "BUILD": (lambda trap: b"\x80\x02ccollections\nOrderedDict\n)R}" + text("a") + b"K\x01sb.", "it does BUILD"),
    "EXT1": (lambda trap: b"\x80\x02\x82\x01.", "it does EXT1"),
    "a memo that fills the memory": (lambda trap: b"\x80\x02}r\xff\xff\xff\x7f.", "a memo of 2,147,483,647 entries"),
    "a bytearray of claimed size": (lambda trap: b"\x80\x05\x96" + (1 << 40).to_bytes(8, "little") + b".", ""),
    "no pickle": (lambda trap: b"\xff\xff", "cannot be loaded"),
    "nothing": (lambda trap: b"", "cannot be loaded"),
}


def refused(checkpoints: Path, content: bytes, *, name: str = "engine.pt") -> Outcome:
    """Put a file into the newer checkpoint; assert that it is refused by name in little memory; return how."""
    forge(checkpoints / "step-00000020", name, content)
    outcome = limited(lambda: load(checkpoints / "step-00000020"))
    assert outcome.error == "CheckpointError", outcome
    assert f"{name}: cannot be loaded (" in outcome.message
    assert "\n" not in outcome.message
    return outcome


@pytest.mark.parametrize("exploit", EXPLOITS)
def test_what_a_pickle_names_is_refused_and_not_called(exploit: str, checkpoints: Path, tmp_path: Path) -> None:
    made, reason = EXPLOITS[exploit]
    trap = tmp_path / "trap"
    outcome = refused(checkpoints, archive(made(str(trap))))
    assert reason in outcome.message
    assert not trap.exists()
    assert outcome.imported == []


def test_one_exploit_does_harm_where_it_is_trusted(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    torch.load(io.BytesIO(archive(calling(os.mkdir, str(trap)))), weights_only=False)
    assert trap.exists()


def test_a_second_pickle_in_the_archive_is_looked_at_too(checkpoints: Path, tmp_path: Path) -> None:
    good = pickle.dumps({}, protocol=2)
    for name in ("other/DATA.PKL", "archive/constants.pkl"):
        outcome = refused(checkpoints, archive(good, **{name: calling(os.mkdir, str(tmp_path / "trap"))}))
        assert "names posix.mkdir" in outcome.message
    assert not (tmp_path / "trap").exists()


@pytest.mark.parametrize("wrap", ["bare", "legacy"])
def test_other_forms_of_torchs_files_are_refused(wrap: str, checkpoints: Path, tmp_path: Path) -> None:
    harm = Call(os.mkdir, str(tmp_path / "trap"))
    made = io.BytesIO()
    if wrap == "bare":
        made.write(pickle.dumps(harm))
    else:
        torch.save(harm, made, _use_new_zipfile_serialization=False)
    refused(checkpoints, made.getvalue())
    assert not (tmp_path / "trap").exists()


def test_a_zip_bomb_is_refused_unread(checkpoints: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as target:
        with target.open("archive/data/0", "w", force_zip64=True) as member:
            for _ in range(400):
                member.write(bytes(1 << 20))
        target.writestr("archive/data.pkl", b"\x80\x02}.")
    assert len(made.getvalue()) < 1 << 20
    assert "compressed: torch stores tensors as they are" in refused(checkpoints, made.getvalue()).message


def test_a_zip_whose_members_overlap_is_refused_unread(checkpoints: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as target:
        target.writestr("archive/data.pkl", b"\x80\x02}.")
        target.writestr("archive/data/0", bytes(1 << 20))
        target.filelist += [target.filelist[-1]] * 999  # all of them the same million bytes
    assert "compressed: torch stores tensors as they are" in refused(checkpoints, made.getvalue()).message


def tensor(numbers: int, size: int) -> bytes:
    """Return the pickle of a tensor of `size` numbers, in a memory of `numbers` of them: its file has three."""

    def whole(value: int) -> bytes:
        return b"\x8a\x08" + value.to_bytes(8, "little")

    storage = b"(" + text("storage") + b"ctorch\nFloatStorage\n" + text("0") + text("cpu") + whole(numbers) + b"tQ"
    hooks = b"ccollections\nOrderedDict\n)R"
    shape = b"K\x00" + whole(size) + b"\x85" + b"K\x01\x85" + b"\x89" + hooks
    return b"\x80\x02}" + text("x") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + shape + b"tRs."


def test_a_tensor_is_as_large_as_the_memory_that_is_in_the_file(checkpoints: Path) -> None:
    whole = archive(tensor(3, 3))
    check_archive(whole)
    assert torch.load(io.BytesIO(whole), weights_only=True)["x"].tolist() == [0, 1, 2]
    for numbers, size in ((3, 1 << 40), (1 << 40, 1 << 40), (3, 4), (1 << 40, 3)):
        refused(checkpoints, archive(tensor(numbers, size)))


def test_a_manifest_that_states_other_sizes_is_refused_before_its_files_are_read(checkpoints: Path) -> None:
    folder = checkpoints / "step-00000020"
    true = (folder / "engine.pt").stat().st_size
    for size in (0, true - 1, true + 1, 1 << 50, -1, "1", None, 1.5):
        rewrite(folder, lambda manifest, size=size: manifest["files"]["engine.pt"].update(size=size))
        outcome = limited(lambda: load(folder))
        assert outcome.error == "CheckpointError"
        assert "bytes, expected" in outcome.message or "does not say the size of 'engine.pt'" in outcome.message


def test_a_file_that_is_as_large_as_stated_is_one_sentence_where_there_is_no_memory_for_it(checkpoints: Path) -> None:
    folder = checkpoints / "step-00000020"
    os.truncate(folder / "engine.pt", 1 << 40)
    rewrite(folder, lambda manifest: manifest["files"]["engine.pt"].update(size=1 << 40))
    outcome = limited(lambda: newest(checkpoints))
    assert outcome.error == "OutOfMemoryError"
    assert "step-00000020: there was not enough memory left to load its 1.1 TB." in outcome.message


@pytest.mark.parametrize("file", ["engine.pt", "manifest.json"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(file: str, checkpoints: Path) -> None:
    folder = checkpoints / "step-00000020"
    rewrite(folder, lambda manifest: manifest["files"]["engine.pt"].update(size=0))
    (folder / file).unlink()
    os.mkfifo(folder / file)
    loaded = newest(checkpoints)
    assert loaded is not None
    assert loaded.step == 10
    (reason,) = loaded.passed_over.values()
    assert reason.startswith(f"{folder / file}: ")


def test_a_manifest_that_is_far_too_large_or_deep_is_not_read(checkpoints: Path) -> None:
    manifest = checkpoints / "step-00000020" / "manifest.json"
    os.truncate(manifest, 1 << 40)
    outcome = limited(lambda: load(manifest.parent))
    assert (outcome.error, "it has more than 1,048,576 bytes" in outcome.message) == ("CheckpointError", True)
    manifest.write_text('{"format": 1, "files": {}, "x": ' + "[" * 900 + "]" * 900 + "}")
    with pytest.raises(CheckpointError, match=r"manifest\.json: "):
        load(manifest.parent)


@pytest.mark.parametrize("version", [0, -1, True, 1.0, "1", None])
def test_a_format_that_is_not_ours_is_refused(version: Any, checkpoints: Path) -> None:
    rewrite(checkpoints / "step-00000020", lambda manifest: manifest.update(format=version))
    loaded = newest(checkpoints)
    assert loaded is not None
    (reason,) = loaded.passed_over.values()
    older = type(version) is int
    assert ("older than this Shoal reads (1): use the Shoal that wrote it" in reason) == older
    assert ("it does not say its format" in reason) != older


def test_a_torch_that_cannot_be_trusted_with_it_loads_nothing(
    checkpoints: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "__version__", "2.9.1+cpu")
    for reader in (newest, lambda folder: load(folder / "step-00000020")):
        with pytest.raises(CheckpointError, match=r"torch 2\.9\.1\+cpu cannot load .*expected torch 2\.10 or newer"):
            reader(checkpoints)


DTYPES = {str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)}
DTYPES.pop("torch.complex32")  # torch warns of it


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
def test_every_dtype_that_torch_loads_may_be_in_a_checkpoint(dtype: torch.dtype) -> None:
    try:
        content = zipped(plain({"x": torch.zeros(4, dtype=dtype)}))
    except (RuntimeError, CheckpointError):  # quantised ones cannot be made so, and are refused when they are saved
        return
    check_archive(content)
    assert torch.load(io.BytesIO(content), weights_only=True)["x"].dtype == dtype
