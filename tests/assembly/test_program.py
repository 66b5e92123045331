"""Which program opens a run: two of one name do not share it, and an edit is told."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.errors import InputError, RecipeError
from shoal.store import record

SCRIPT = """
import shoal

def main(runs, passes=2, **how):
    with shoal.open_run({"lr": 0.1}, runs=runs, quiet=True, **how) as run:
        for _ in range(passes):
            pass
    return run
"""


def program(path: Path, more: str = "") -> Any:
    """A script that opens a run, as if it was started."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(SCRIPT + more)
    return runpy.run_path(str(path), run_name="__main__")["main"]


def log(run: Any) -> str:
    return (run.folder / "train.log").read_text()


def test_the_name_of_a_script_is_in_its_identity(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first, second = program(tmp_path / "gan.py")(runs), program(tmp_path / "vae.py")(runs)
    assert first.signature != second.signature
    assert [run.folder.parent.name.partition("-")[0] for run in (first, second)] == ["gan", "vae"]
    assert program(tmp_path / "other.py")(runs, program="gan").signature == first.signature
    with shoal.open_run({"lr": 0.1}, runs=runs, quiet=True) as run:
        assert record.read(run.location)["program"]["name"] == __name__


def test_two_programs_of_one_name_do_not_share_a_run(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    first = program(tmp_path / "a" / "train.py")(runs)
    copied = program(tmp_path / "b" / "train.py")(runs)
    assert copied.folder == first.folder, "the same source elsewhere is the same program"
    edited = program(tmp_path / "c" / "train.py", "# other\n")
    with pytest.raises(InputError, match=r"c/train\.py is not the program that made this run, .*a/train\.py: both are"):
        edited(runs)
    assert edited(runs, program="train").finished, "whoever gives the name answers for it"


def test_an_edit_is_told_and_begins_no_other_run(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    broken = program(tmp_path / "gan.py", more="# as it was\n")
    with pytest.raises(TypeError):
        broken(runs, passes="two")
    (folder,) = runs.glob("gan-*/seed-0")
    assert "the source of" not in (folder / "train.log").read_text()
    edited = program(tmp_path / "gan.py", more="# edited\n")(runs)
    assert edited.folder == folder
    assert log(edited).count("the source of gan.py changed since this run was last trained") == 1


def one(x: int) -> int:
    return x + 1


def two(x: int) -> int:
    return x + 2


def test_the_source_of_functions_is_identity_where_that_is_asked_for(tmp_path: Path) -> None:
    def made(*things: Any, program: str = "x") -> str:
        with shoal.open_run({}, program=program, runs=tmp_path, identity_of=things, quiet=True) as run:
            said = "the source of the functions changed since x-" in log(run)
            assert said == (program == "x" and len(list(tmp_path.glob("x-*"))) > 1), "told where it is the one change"
            return run.signature

    made(two, program="y")
    assert len({made(), made(one), made(two), made(one, two)}) == 4
    assert made(two, one) == made(one, two)
    with pytest.raises(RecipeError, match="identity_of: a lambda has no name"):
        made(lambda x: x)


def test_what_has_no_name_is_asked_for_one(tmp_path: Path) -> None:
    code = "import shoal\nshoal.open_run({})"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "open_run(config, program='gan')" in done.stderr


def test_a_secret_is_recorded_nowhere_and_still_identifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # this file would be in code.patch where it is not committed

    def made(secret: str, **how: Any) -> Any:
        config = {"hub": {"api_key": secret}, "tokens": 5}
        with shoal.open_run(config, program="x", runs=tmp_path, quiet=True, **how) as run:
            assert run.config["hub"]["api_key"] == secret
        return run

    first = made("hunter2hunter2")
    assert made("hunter3hunter3").signature != first.signature
    assert made("hunter2", exclude=["hub"]).signature == made("hunter3", exclude=["hub"]).signature
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"hunter" in content for content in written)
    assert "api_key: '***'" in (first.folder / "recipe.yaml").read_text()
