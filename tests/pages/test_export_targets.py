from __future__ import annotations

import os
from pathlib import Path

import pytest

from shoal.errors import ExportError, InputError
from shoal.pages.board_files import board_files
from shoal.pages.export_targets import Targets, written


def test_nothing_wanted_lists_what_there_is() -> None:
    with pytest.raises(InputError) as caught:
        Targets().check(force=False)
    for word in ("--weights FILE.safetensors", "--onnx FILE.onnx", "--history FILE.csv", "--tensorboard DIR"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        (Targets(weights=Path("w.pt")), r"weights = w\.pt: .* ends in \.safetensors, such as w\.safetensors"),
        (Targets(onnx=Path("m")), r"onnx = m: .* ends in \.onnx, such as m\.onnx"),
        (Targets(history=Path("h.xlsx")), r"ends in \.csv or \.parquet, such as h\.csv or h\.parquet"),
        (Targets(history=Path("none/h.csv")), r"history = none/h\.csv: there is no folder 'none'\. Make it first"),
        (Targets(onnx=Path("folder.onnx")), r"onnx = folder\.onnx: this is a folder"),
        (
            Targets(history=Path("there.csv")),
            r"history = there\.csv: the file exists, and is only overwritten with --force",
        ),
        (Targets(tensorboard=Path("there.csv")), r"tensorboard = there\.csv: this is a file: expected a folder"),
        (Targets(tensorboard=Path("board")), r"tensorboard = board: projector is there already, .* --force"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    targets: Targets, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("folder.onnx").mkdir()
    Path("board/projector").mkdir(parents=True)
    Path("there.csv").touch()
    with pytest.raises(InputError, match=said):
        targets.check(force=False)


def test_with_force_what_is_there_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "h.csv").touch()
    (tmp_path / "projector").mkdir()
    for there in (Targets(history=tmp_path / "h.csv"), Targets(tensorboard=tmp_path)):
        there.check(force=True)
        with pytest.raises(InputError, match=r"--force"):
            there.check(force=False)
    Targets(tensorboard=tmp_path / "new" / "board").check(force=False)


def test_a_folder_with_files_of_others_takes_a_board(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.1.mine").touch()
    assert board_files(tmp_path) == []
    Targets(tensorboard=tmp_path).check(force=False)


@pytest.mark.parametrize(
    ("targets", "needed"), [(Targets(history=Path("h.csv")), False), (Targets(onnx=Path("m")), True)]
)
def test_only_the_history_needs_no_torch(targets: Targets, needed: bool) -> None:
    assert targets.need_torch is needed


def test_a_file_is_whole_or_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fill_the_disk() -> None:
        with written(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, os.strerror(28))

    with pytest.raises(ExportError, match=r"cannot write .*file: No space left on device\. Nothing of it was left"):
        fill_the_disk()
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file", "before")]
    with written(path) as temporary:
        temporary.write_text("after")
    assert [(entry.name, entry.read_text()) for entry in tmp_path.iterdir()] == [("file", "after")]
