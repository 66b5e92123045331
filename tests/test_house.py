"""The house: what each room may import, how files are named and nested, and what the package shows."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import shoal

SRC = Path(__file__).parents[1] / "src" / "shoal"
MODULES = sorted(SRC.rglob("*.py"))

# Third-party packages, each with what it needs in turn.
RICH = {"rich", "pygments", "markdown_it", "mdurl"}
SCREEN = RICH | {"click", "typing_extensions"}
PYDANTIC = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
HYDRA = {"hydra", "omegaconf", "antlr4", "packaging", "yaml", "_yaml", "attr"}  # omegaconf takes attr where it is there

# What each room below torch may import, all its modules together.
ROOMS: dict[str, set[str]] = {
    "shoal.errors": set(),
    "shoal.files": set(),
    "shoal.pickled": set(),
    "shoal.schedules": {"numpy"},
    "shoal.recipe": PYDANTIC | HYDRA,
    "shoal.store": set(),
    "shoal.analysis": set(),
    "shoal.pages": RICH,
}

# What a command that has to answer at once does without.
SLOW = {"torch", "hydra", "omegaconf", "pydantic"}

LOADED = """
import importlib, json, pkgutil, sys, sysconfig
installed = tuple({sysconfig.get_path("purelib"), sysconfig.get_path("platlib")})
before = set(sys.modules)
room = importlib.import_module(sys.argv[1])
if "--all" in sys.argv:
    for module in pkgutil.walk_packages(getattr(room, "__path__", []), room.__name__ + "."):
        importlib.import_module(module.name)
new = {name: getattr(sys.modules[name], "__file__", None) or "" for name in set(sys.modules) - before}
found = {name.partition(".")[0] for name, file in new.items() if file.startswith(installed)} - {"shoal"}
print(json.dumps(sorted(found)))
"""


def third_party(room: str, *, whole: bool) -> set[str]:
    """Return the third-party packages that a fresh process imports with `room`, or with `whole` all its modules."""
    command = [sys.executable, "-c", LOADED, room, *(["--all"] if whole else [])]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


@pytest.mark.parametrize("room", ROOMS)
def test_a_torch_free_room_imports_only_what_it_may(room: str) -> None:
    assert third_party(room, whole=True) <= ROOMS[room]


def test_importing_shoal_imports_nothing_else() -> None:
    assert third_party("shoal", whole=False) == set()


def test_the_door_of_the_command_line_imports_only_what_draws_the_screen() -> None:
    assert third_party("shoal.cli", whole=False) <= SCREEN


@pytest.mark.parametrize("args", [["--help"], ["ls"]], ids=" ".join)
def test_a_quick_command_imports_nothing_slow(args: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-X", "importtime", "-m", "shoal", *args]
    answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    lines = [line for line in answer.stderr.splitlines() if line.startswith("import time:")]
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}
    assert "shoal" in loaded
    assert loaded & SLOW == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(SRC)))
def test_a_module_says_what_it_is_for_and_has_a_name_that_says_it_too(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no docstring"
    assert path.stem not in {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}
    assert len(path.relative_to(SRC).parts) <= 2, "packages are at most two levels deep: shoal, and a room"


def test_no_room_bears_the_name_of_a_public_function() -> None:
    rooms = {path.parent.name for path in SRC.glob("*/__init__.py")} | {path.stem for path in SRC.glob("[!_]*.py")}
    assert not rooms & set(shoal.__all__)


def test_all_is_what_is_visible() -> None:
    visible = {name: getattr(shoal, name) for name in dir(shoal) if not name.startswith("_")}
    shown = {name for name, value in visible.items() if not isinstance(value, ModuleType)}
    assert shown == {name for name in shoal.__all__ if not name.startswith("_")}
    assert len(shoal.__all__) == len(set(shoal.__all__))


def test_every_public_name_says_what_it_does() -> None:
    silent = [name for name in shoal.__all__ if not name.startswith("_") and not getattr(shoal, name).__doc__]
    assert not silent
