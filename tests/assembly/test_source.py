"""What code is, for identity: named, digested, and refused where it has no name."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

from shoal.assembly.source import classes_of, digest, qualified_name
from shoal.errors import RecipeError


class Net(nn.Module):
    def __init__(self, hidden: int = 3) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, hidden), nn.ReLU())


def build(hidden: int = 3) -> nn.Module:
    return Net(hidden)


def closing_over(hidden: int):
    def make() -> nn.Module:
        return Net(hidden)

    return make


def test_functions_classes_and_partials_have_names() -> None:
    assert qualified_name(Net, "model") == f"{__name__}.Net"
    assert qualified_name(build, "model") == f"{__name__}.build"
    assert qualified_name(functools.partial(Net, hidden=4), "model") == f'{__name__}.Net([[], {{"hidden": 4}}])'


def test_arguments_of_a_partial_are_part_of_the_name() -> None:
    names = {qualified_name(functools.partial(Net, hidden=h), "model") for h in (3, 4)}
    assert len(names) == 2


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (lambda: Net(), ["lambda", "shoal.model('my-model')"]),
        (closing_over(3), ["closure", "functools.partial"]),
        (Net(), ["found an instance of Net", "initial weights"]),
        (functools.partial(Net, hidden=object()), ["no plain values"]),
        (3, ["expected a class, a function or the name of a model, found 3"]),
    ],
)
def test_what_has_no_name_is_refused_with_what_to_do(thing: object, words: list[str]) -> None:
    with pytest.raises(RecipeError) as caught:
        qualified_name(thing, "model")
    assert all(word in str(caught.value) for word in words)


def test_the_digest_follows_the_source_and_not_the_order() -> None:
    assert digest([Net, build]) == digest([build, Net])
    assert digest([Net]) != digest([build])


def test_the_classes_of_a_model_are_those_of_the_user() -> None:
    assert classes_of(nn.Sequential(Net(), nn.Linear(2, 2))) == [Net]


def module(folder: Path, body: str) -> str:
    """The digest of `make` in a module with this body, computed by a fresh interpreter."""
    (folder / "own.py").write_text(body)
    code = "from own import make; from shoal.assembly.source import digest; print(digest([make]))"
    return subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_only_the_code_that_is_meant_changes_the_digest(tmp_path: Path) -> None:
    before = module(tmp_path, "def make():\n    return 1\n\n\ndef other():\n    return 1\n")
    elsewhere = module(tmp_path, "import os\n\n\ndef make():\n\n    return 1   \n\n\ndef other():\n    return 2\n")
    inside = module(tmp_path, "def make():\n    return 2\n\n\ndef other():\n    return 1\n")
    assert before == elsewhere
    assert before != inside


def test_code_without_a_file_is_identified_by_what_it_compiles_to() -> None:
    def typed(constant: int) -> str:
        script = f"def make():\n    return {constant}\nfrom shoal.assembly.source import digest\nprint(digest([make]))"
        done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, check=True)
        return done.stdout

    assert typed(1) == typed(1) != typed(2)
