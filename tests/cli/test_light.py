"""The commands that only read answer at once: they import neither torch nor what composes recipes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.synthetic import make_run
from tests.synthetic_sweep import make_sweep

HEAVY = ("torch", "numpy", "hydra", "omegaconf", "pydantic", "yaml", "rich")

CODE = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from shoal.cli import main
with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
    code = main(sys.argv[2:])
print(json.dumps([code, [name for name in json.loads(sys.argv[1]) if name in sys.modules]]))
"""


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--help"],
        ["--version"],
        ["train", "--help"],
        ["ls"],
        ["ls", "--json"],
        ["ls", "--group"],
        ["tag", "digits", "--add", "good"],
        ["note", "digits", "the baseline"],
        ["show", "digits"],
        ["report", "digits"],
        ["report", "digits/seed-0", "grid"],
        ["compare", "digits", "grid"],
        ["logs", "digits"],
        ["export", "digits", "--history", "h.csv"],
        ["rm", "digits", "--yes"],
    ],
    ids=" ".join,
)
def test_a_reading_command_imports_nothing_heavy(tmp_path: Path, words: list[str]) -> None:
    make_run(tmp_path / "runs", history=3).log.write_text("text\n")
    make_sweep(tmp_path / "runs", grid={"optimizer.lr": [0.1, 0.2]}, seeds=1, epochs=2)
    command = [sys.executable, "-c", CODE, json.dumps(HEAVY), *words]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == [0, []]


def test_the_schema_needs_no_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", CODE, json.dumps(["torch", "hydra", "omegaconf"]), "schema"]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(answer.stdout) == [0, []]


@pytest.mark.parametrize(
    "room",
    [
        "store",
        "store.provenance",
        "pages.run_page",
        "pages.closing",
        "pages.runs_table",
        "pages.report",
        "pages.figures",
        "cli.app",
    ],
)
def test_rooms_below_the_line_import_nothing_heavy(room: str) -> None:
    code = f"import sys, shoal.{room}; print([name for name in {HEAVY[:-1]} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_the_package_is_lazy_and_complete() -> None:
    code = (
        "import sys, shoal; assert 'torch' not in sys.modules; assert dir(shoal) == sorted(shoal.__all__); "
        "assert shoal.ShoalError.__name__ == 'ShoalError'; assert 'torch' not in sys.modules; "
        "print(all(getattr(shoal, name) is not None for name in shoal.__all__), 'torch' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "True True\n"


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    import shoal

    with pytest.raises(AttributeError, match="module 'shoal' has no attribute 'trian'"):
        shoal.trian  # noqa: B018
