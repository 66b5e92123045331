"""From a preset and KEY=VALUE words to a recipe."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import RecipeError
from shoal.recipe import from_yaml
from shoal.recipe.compose import apply, compose, override, preset_mapping, presets
from shoal.recipe.optimizer_parts import Adamw, Sgd
from shoal.recipe.parse import parse
from shoal.recipe.parts import Mlp
from shoal.recipe.schedule_parts import Cosine


@pytest.mark.parametrize("preset", ["digits", "digits_mlp", "mnist_mlp", "mnist_cnn", "cifar10_resnet"])
def test_a_shipped_preset_is_a_recipe_of_its_name(preset: str) -> None:
    recipe = compose(preset)
    assert recipe.name == preset
    assert from_yaml(recipe.to_yaml()) == recipe


def test_the_shipped_presets_are_those_of_the_design() -> None:
    assert set(presets()) >= {"digits", "digits_mlp", "mnist_mlp", "mnist_cnn", "shakespeare_gpt", "cifar10_resnet"}
    assert compose().name == "digits"


@pytest.mark.parametrize(
    "words", [["optimizer=adamw", "optimizer.lr=0.5"], ["optimizer.lr=0.5", "optimizer.name=adamw"]]
)
def test_a_selection_comes_before_values_wherever_it_stands(words: list[str]) -> None:
    assert compose("digits_mlp", words).optimizer == Adamw(lr=0.5)


def test_a_selection_replaces_the_whole_part() -> None:
    assert compose("digits", ["optimizer=sgd"]).optimizer == Sgd()
    assert compose("digits", ["model=mlp"]).model == Mlp()
    assert compose("digits_mlp", ["schedules.momentum=cosine"]).schedules.momentum == Cosine()


def test_spellings_agree() -> None:
    one = compose("digits_mlp", ["optimizer.lr=1e-1", "seed=1", "budget.epochs=5"])
    other = compose("digits_mlp", ["optimizer.lr=0.1", "seed=1.0", "budget.epochs=5.0"])
    assert one == other


def test_giving_one_kind_of_budget_replaces_the_other() -> None:
    assert compose("digits", ["budget.steps=7"]).budget.model_dump() == {"epochs": None, "steps": 7}
    with pytest.raises(RecipeError, match="expected epochs or steps, not both"):
        compose("digits", ["budget.steps=7", "budget.epochs=7"])


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("a=1", 1),
        ("a=1.5", 1.5),
        ("a=true", True),
        ("a=null", None),
        ("a=text", "text"),
        ("a='007'", "007"),
        ("a=[1,2]", [1, 2]),
        ("a={b: 1}", {"b": 1}),
        ("a=", ""),
        ("a=/data/with space/x=1,y", "/data/with space/x=1,y"),
        ("a=9" + "9" * 5000, "9" + "9" * 5000),
    ],
)
def test_a_word_is_read_by_hydras_grammar_or_as_text(word: str, value: Any) -> None:
    assert override(word) == ("a", value)


@pytest.mark.parametrize("word", ["a", "=1", "+a=1", "~a=1", "a..b=1", ".a=1", ""])
def test_what_is_no_word_is_refused(word: str) -> None:
    with pytest.raises(RecipeError, match=r"expected KEY=VALUE, such as optimizer\.lr=0\.05"):
        override(word)


@pytest.mark.parametrize("word", ["seed=1,2", "seed=range(1,3)", "seed=choice(1,2)"])
def test_several_values_are_refused_in_one_training(word: str) -> None:
    with pytest.raises(RecipeError, match="one training takes one value for seed"):
        override(word)


@given(
    st.text(max_size=30), st.sampled_from(["", "optimizer", "optimizer.lr", "seed", "budget.epochs", "schedules.lr.x"])
)
def test_any_words_compose_or_are_refused(text: str, key: str) -> None:
    with contextlib.suppress(RecipeError):
        assert parse(apply({}, [override(f"{key}={text}")])).batch_size > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["optimizer.lr.x=1"], "unknown key optimizer.lr.x: lr has no keys below it."),
        (["schedules.lr.name.x=1"], "has no keys below it"),
        (["optimizer=adammw"], "unknown optimizer 'adammw': did you mean 'adamw'?"),
        (["optimiser.lr=1"], "unknown key optimiser: did you mean optimizer?"),
        (["optimizer=3"], "optimizer = 3: expected one of: adadelta, adafactor, "),
        (["optimizer.lr=-1"], "optimizer.lr = -1: expected a number greater than 0"),
    ],
)
def test_a_refused_word_is_explained(words: list[str], message: str) -> None:
    with pytest.raises(RecipeError) as error:
        compose("digits", words)
    assert message in str(error.value)


def test_an_unknown_preset_is_refused_with_the_nearest() -> None:
    with pytest.raises(RecipeError, match=r"unknown preset 'digts': did you mean 'digits'\?.*--config-dir DIR"):
        compose("digts")


def test_presets_of_ones_own_come_first(tmp_path: Path) -> None:
    (tmp_path / "digits.yaml").write_text("batch_size: 7\n")
    (tmp_path / "mine.yaml").write_text("model: {name: mlp, width: 3}\noptimizer: {lr: 1e-3}\n")
    assert compose("digits", config_dir=tmp_path).batch_size == 7
    mine = compose("mine", ["model.depth=2"], config_dir=tmp_path)
    assert (mine.name, mine.model, mine.optimizer.lr) == ("mine", Mlp(width=3, depth=2), 0.001)
    assert compose("mnist_cnn", config_dir=tmp_path) == compose("mnist_cnn")


def test_an_empty_preset_is_the_default_recipe(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert preset_mapping("empty", config_dir=tmp_path) == {"name": "empty"}


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=r"there is no folder of presets .*nowhere"):
        compose("digits", config_dir=tmp_path / "nowhere")


def test_a_folder_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "it's a = folder, [odd]"
    folder.mkdir()
    (folder / "mine.yaml").write_text("defaults: [mnist_cnn, _self_]\n")
    assert compose("mine", config_dir=folder).model == compose("mnist_cnn").model


BROKEN = {
    "not YAML": ("a: [", r"mine\.yaml, line 1, column \d+: this is no plain YAML"),
    "code": ("a: !!python/name:os.system", r"mine\.yaml, line 1, column 4: this is no plain YAML"),
    "a key twice": ("seed: 1\nseed: 2", r"mine\.yaml, line 2, column 1: .*the key seed is given twice"),
    "a list": ("[1, 2]", r"mine\.yaml: expected a mapping of recipe keys, found list"),
    "bytes": (b"\xff\xfe\x00", r"mine\.yaml: this is no plain YAML text"),
    "a target": ("model: {_target_: os.system}", r"unknown key model\._target_: a recipe names no code to import"),
    "a reference": (
        "seed: ${batch_size}",
        r"mine\.yaml: seed = '\$\{batch_size\}': nothing is looked up: write the value itself\.$",
    ),
    "a circle": ("a: &x {b: *x}", r"mine\.yaml, line 1, column 11: .*not taken from elsewhere by an alias"),
    "an unknown key": ("sead: 3", r"unknown key sead: did you mean seed\?"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN.values(), ids=BROKEN)
def test_a_broken_preset_is_explained(tmp_path: Path, content: str | bytes, message: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(RecipeError, match=message) as error:
        compose("mine", config_dir=tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_is_imported_because_a_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "trap.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for line in ("model: {_target_: trap.run}", "model: trap", "model: {name: external, source: trap.run}"):
        (tmp_path / "mine.yaml").write_text(line)
        with contextlib.suppress(RecipeError):
            compose("mine", config_dir=tmp_path)
        assert "trap" not in sys.modules


def test_composing_leaves_a_hydra_of_the_callers_alone() -> None:
    sentinel: Any = object()
    singleton = GlobalHydra.instance()
    before, singleton.hydra = singleton.hydra, sentinel
    try:
        compose("digits")
        assert singleton.hydra is sentinel
    finally:
        singleton.hydra = before
