from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from shoal.recipe.describe import keys


def test_every_key_is_listed(shoal: Any) -> None:
    answer = shoal("schema")
    assert answer.code == 0
    for row in keys():
        assert any(line.startswith(f"{row['key']} ") and row["meaning"] in line for line in answer.lines), row
    assert len(shoal("schema", "--json").lines) == len(keys())


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("batch_size", {"batch_size"}),
        ("budget", {"budget.epochs", "budget.steps"}),
        ("optimizer.lr", {"optimizer.lr"}),
        ("nesterov", {"optimizer.nesterov"}),
        ("huber", None),
        ("optimizer.lrr", None),
    ],
)
def test_a_key_a_section_or_a_last_word_is_found(shoal: Any, key: str, found: set[str] | None) -> None:
    answer = shoal("schema", key, "--json")
    if found is None:
        assert (answer.code, answer.out) == (2, "")
        assert f"no key {key!r}" in answer.err
    else:
        assert {json.loads(line)["key"] for line in answer.lines} == found


def test_an_entry_lists_its_parameters(shoal: Any) -> None:
    answer = shoal("schema", "adamw")
    assert answer.lines[0] == "optimizer: adamw"
    assert "optimizer.beta1" in answer.out
    assert "optimizer.nesterov" not in answer.out


def test_an_entry_of_the_users_is_listed_with_its_module(shoal: Any) -> None:
    module = Path("entries_to_list.py")
    module.write_text(
        "import shoal\n\n\n@shoal.model('listed')\ndef listed(input_shape: tuple[int, ...], waves: int = 3): ...\n"
    )
    assert shoal("schema", "listed").code == 2
    answer = shoal("schema", "listed", "--module", "entries_to_list")
    assert answer.code == 0
    assert "model.waves" in answer.out


def test_a_misspelt_key_is_told_the_nearest(shoal: Any) -> None:
    answer = shoal("schema", "batch_siz")
    assert answer.code == 2
    assert answer.err == "shoal: no key 'batch_siz': did you mean 'batch_size'? 'shoal schema' lists all of them.\n"


def test_types_and_bounds_are_words(shoal: Any) -> None:
    text = shoal("schema").out
    assert "Optional[" not in text
    assert "Union[" not in text
    assert "one of: none, batch, group" in text
    assert "≥0 <1 " in text
    assert "≥0 <2^63 " in text
