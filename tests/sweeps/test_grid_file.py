from __future__ import annotations

import re
from pathlib import Path

import pytest

from shoal.errors import InputError
from shoal.recipe import Recipe
from shoal.recipe.compose import compose
from shoal.recipe.flat import flat
from shoal.sweeps.grid_file import is_grid_file, load
from shoal.sweeps.points import compose as composed


def written(folder: Path, text: str, name: str = "grid.py") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def recipes(word: str) -> list[Recipe]:
    file, base = load(word), compose("digits_mlp")
    return [wanted.recipe for wanted in composed(base, file.points(base)).wanted]


def test_loops_and_conditions_yield_what_differs_from_the_base(tmp_path: Path) -> None:
    word = written(
        tmp_path,
        """
import shoal
base = "digits_mlp"
def grid():
    for lr in shoal.log(0.01, 1, 3):
        for width in (32, 64):
            if lr * width < 40:
                yield {"optimizer.lr": lr, "model": {"width": width}}
""",
    )
    keys = [flat(recipe.mapping()) for recipe in recipes(word)]
    found = [(each["optimizer.lr"], each["model.width"]) for each in keys]
    assert found == [(0.01, 32), (0.01, 64), (0.1, 32), (0.1, 64), (1.0, 32)]
    assert load(word).base == "digits_mlp"


def test_points_may_be_mappings_words_and_recipes(tmp_path: Path) -> None:
    word = written(
        tmp_path,
        """
import shoal
def grid():
    yield {"optimizer": {"lr": 0.5, "name": "adamw"}}
    yield ["optimizer=adamw", "optimizer.lr=0.5"]
    yield "seed=3"
    yield shoal.compose("digits_mlp", ["schedules.lr=step", "budget.steps=7", "average=ema"])
""",
    )
    with_name, *others = recipes(word)
    assert (with_name.optimizer.name, with_name.optimizer.lr) == ("adamw", 0.5)
    assert others == [
        compose("digits_mlp", ["seed=3"]),
        compose("digits_mlp", ["schedules.lr=step", "budget.steps=7", "average=ema"]),
    ]


def test_one_of_several_functions_is_named(tmp_path: Path) -> None:
    word = written(tmp_path, "def wide(): return [{'seed': 1}]\ndef narrow(): return [{'seed': 2}]\n")
    assert [recipe.seed for recipe in recipes(f"{word}:narrow")] == [2]
    with pytest.raises(InputError, match="It has: wide, narrow"):
        load(word)
    with pytest.raises(InputError, match="no function thin"):
        load(f"{word}:thin")


def test_what_it_imports_in_a_function_prints_and_yields_as_numpy_numbers_is_taken(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, "SEED = 6\n", "beside_a_function.py")
    word = written(
        tmp_path,
        """
import numpy as np
print("loading")
def grid():
    from beside_a_function import SEED
    print("yielding")
    for width in np.array([16, 32]):
        yield {"model.width": width, "seed": SEED}
""",
    )
    file, base = load(word), compose("digits_mlp")
    found = [wanted.overrides for wanted in composed(base, file.points(base)).wanted]
    assert found == [{"model.width": 16, "seed": 6}, {"model.width": 32, "seed": 6}]
    assert {type(each["model.width"]) for each in found} == {int}
    assert capsys.readouterr() == ("", "loading\nyielding\n")


def test_it_may_import_what_lies_beside_it(tmp_path: Path) -> None:
    written(tmp_path, "SEEDS = (4, 5)\n", "beside_the_grid.py")
    word = written(tmp_path, "from beside_the_grid import SEEDS\ndef grid(): return [{'seed': s} for s in SEEDS]\n")
    assert [recipe.seed for recipe in recipes(word)] == [4, 5]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def grid(:", r"line 1: .*: def grid\(:"),
        ("def grid():\n    yield {}\n    x = 1 / 0\n", r"line 3: x = 1 / 0\nZeroDivisionError: division by zero"),
        ("import not_there_at_all\n", r"line 1: import not_there_at_all\nModuleNotFoundError"),
        ("def grid():\n    return\n    yield\n", r"grid\(\) yielded nothing"),
        ("def grid(): return []\n", r"grid\(\) yielded nothing"),
        ("def grid(): return 3\n", r"grid\(\) returned 3"),
        ("def grid(): return 'seed=1'\n", r"grid\(\) returned 'seed=1'"),
        ("def grid(): yield 3\n", r"point 1 of grid\(\) is 3"),
        ("def grid(n): yield {}\n", r"without arguments, and it needs n"),
        ("x = 3\n", r"no function grid\(\)"),
        ("base = 3\ndef grid(): yield {}\n", r"base is 3"),
        ("import shoal\ndef grid():\n    yield {'a': shoal.log(0, 1, 3)}\n", r"line 3: yield .*\nlog:0:1:3: both ends"),
        ("def grid(): yield {'optimizer.lrr': 1}\n", r"the point lrr=1: unknown key optimizer.lrr: did you mean"),
    ],
)
def test_a_file_that_is_no_grid_is_told_with_its_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        recipes(written(tmp_path, text))
    assert re.search(said, str(error.value)), str(error.value)


def test_a_missing_file_is_told_with_the_nearest(tmp_path: Path) -> None:
    word = written(tmp_path, "")
    with pytest.raises(InputError, match=re.escape(f"Did you mean {word}?")):
        load(word.replace("grid.py", "gird.py"))


@pytest.mark.parametrize(
    ("word", "is_one"), [("grid.py", True), ("a/b.py:c", True), ("x=a.py", False), ("digits", False)]
)
def test_words_that_name_a_file(word: str, is_one: bool) -> None:
    assert is_grid_file(word) is is_one
