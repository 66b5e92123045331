"""Presets that extend others: what is merged, what an exchanged part leaves behind, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from shoal.errors import RecipeError
from shoal.recipe import Recipe
from shoal.recipe.compose import compose
from shoal.recipe.optimizer_parts import Adamw, Sgd
from shoal.recipe.schedule_parts import Cosine

Write = Callable[[str, str], None]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> None:
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    return write


def composed(tmp_path: Path, preset: str, *words: str) -> Recipe:
    return compose(preset, words, config_dir=tmp_path)


def test_a_preset_extends_a_shipped_one(tmp_path: Path, write: Write) -> None:
    write("mine", "defaults: [mnist_cnn, _self_]\nbatch_size: 7\noptimizer: {lr: 0.5}\n")
    base, mine = compose("mnist_cnn"), composed(tmp_path, "mine")
    assert mine.name == "mine"
    assert mine.batch_size == 7
    assert mine.model == base.model
    assert mine.optimizer == base.optimizer.model_copy(update={"lr": 0.5})


def test_what_extends_wins_wherever_the_list_says_so(tmp_path: Path, write: Write) -> None:
    write("last", "defaults: [digits]\nbatch_size: 7\n")
    write("first", "defaults: [_self_, digits]\nbatch_size: 7\n")
    assert composed(tmp_path, "last").batch_size == 7
    assert composed(tmp_path, "first").batch_size == compose("digits").batch_size


def test_a_part_whose_name_changes_starts_from_the_new_entry(tmp_path: Path, write: Write) -> None:
    write("base", "optimizer: {name: adamw, lr: 0.003, weight_decay: 0.3, beta1: 0.8}\n")
    write("mapping", "defaults: [base, _self_]\noptimizer: {name: sgd, momentum: 0.5}\n")
    write("word", "defaults: [base, _self_]\noptimizer: sgd\n")
    assert composed(tmp_path, "mapping").optimizer == Sgd(momentum=0.5)
    assert composed(tmp_path, "word").optimizer == Sgd()


def test_a_part_whose_name_stays_keeps_its_keys(tmp_path: Path, write: Write) -> None:
    write("base", "optimizer: {name: adamw, lr: 0.003, beta1: 0.8}\n")
    write("mine", "defaults: [base, _self_]\noptimizer: {name: adamw, lr: 0.1}\n")
    assert composed(tmp_path, "mine").optimizer == Adamw(lr=0.1, beta1=0.8)


def test_keys_do_not_come_back_over_several_levels(tmp_path: Path, write: Write) -> None:
    write("one", "optimizer: {name: adamw, beta1: 0.8, weight_decay: 0.3}\n")
    write("two", "defaults: [one, _self_]\noptimizer: {name: sgd, lr: 0.2}\n")
    write("three", "defaults: [two, _self_]\noptimizer: {momentum: 0.5}\n")
    write("four", "defaults: [three, _self_]\noptimizer: adamw\n")
    write("five", "defaults: [four, _self_]\noptimizer: {beta2: 0.9}\n")
    assert composed(tmp_path, "three").optimizer == Sgd(lr=0.2, momentum=0.5)
    assert composed(tmp_path, "four").optimizer == Adamw()
    assert composed(tmp_path, "five").optimizer == Adamw(beta2=0.9)


def test_schedules_are_parts_too(tmp_path: Path, write: Write) -> None:
    write("base", "schedules: {lr: {name: cosine, final: 0.1, warmup_steps: 5}}\n")
    write("mine", "defaults: [base, _self_]\nschedules: {lr: {name: constant}, momentum: cosine}\n")
    schedules = composed(tmp_path, "mine").schedules
    assert schedules.lr.model_dump() == {"name": "constant", "warmup_steps": 0, "warmup_start": 0.0}
    assert schedules.momentum == Cosine()


def test_one_kind_of_budget_replaces_the_other(tmp_path: Path, write: Write) -> None:
    write("mine", "defaults: [digits, _self_]\nbudget: {steps: 7}\n")
    assert composed(tmp_path, "mine").budget.model_dump() == {"epochs": None, "steps": 7}


def test_a_group_of_ones_own_is_selected_by_its_name(tmp_path: Path, write: Write) -> None:
    write("optimizer/fast", "name: adamw\nlr: 0.5\n")
    write("schedules/lr/slow", "name: cosine\nwarmup_steps: 9\n")
    recipe = composed(tmp_path, "digits_mlp", "optimizer.beta1=0.7", "optimizer=fast", "schedules.lr=slow")
    assert recipe.optimizer == Adamw(lr=0.5, beta1=0.7)
    assert recipe.schedules.lr == Cosine(warmup_steps=9)


def test_a_group_can_extend_another(tmp_path: Path, write: Write) -> None:
    write("optimizer/fast", "name: adamw\nlr: 0.5\n")
    write("optimizer/faster", "defaults: [fast, _self_]\nlr: 0.9\n")
    write("optimizer/other", "defaults: [fast, _self_]\nname: sgd\n")
    assert composed(tmp_path, "digits", "optimizer=faster").optimizer == Adamw(lr=0.9)
    assert composed(tmp_path, "digits", "optimizer=other").optimizer == Sgd()


def test_a_preset_can_name_a_group(tmp_path: Path, write: Write) -> None:
    write("optimizer/fast", "name: sgd\nlr: 0.5\n")
    write("mine", "defaults: [mnist_cnn, optimizer: fast, _self_]\n")
    assert composed(tmp_path, "mine").optimizer == Sgd(lr=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "defaults: [mnist_cn, _self_]",
            r"mine\.yaml: defaults: unknown preset 'mnist_cn': did you mean 'mnist_cnn'\?",
        ),
        ("defaults: [optimizer: fats]", r"mine\.yaml: defaults: unknown optimizer 'fats': did you mean 'fast'\?"),
        ("defaults: 3", r"mine\.yaml: defaults = 3: expected a list such as 'defaults: \[mnist_cnn, _self_\]'"),
        ("defaults: [3]", r"mine\.yaml: defaults: 3: expected a list such as"),
        ("defaults: [override optimizer: fast]", r"mine\.yaml: defaults: .* expected a list such as"),
        ("defaults: [{a: b, c: d}]", r"mine\.yaml: defaults: .* expected a list such as"),
        ("defaults: [mine]", r"mine\.yaml: its defaults list leads back to itself, by mine\.yaml"),
        ("defaults: [other]", r"other\.yaml, line 1, column \d+: this is no plain YAML"),
    ],
)
def test_a_broken_defaults_list_is_explained(tmp_path: Path, write: Write, text: str, message: str) -> None:
    write("optimizer/fast", "name: sgd\n")
    write("other", "a: [")
    write("mine", text)
    with pytest.raises(RecipeError, match=message) as error:
        composed(tmp_path, "mine")
    assert "\n" not in str(error.value)
