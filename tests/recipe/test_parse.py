"""From a mapping to a recipe: what each refusal says, and that nothing else than a refusal is ever raised."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.errors import RecipeError
from shoal.recipe import Recipe, from_yaml, parse
from shoal.recipe.optimizer_parts import Adamw, Sgd
from shoal.recipe.parts import Mlp
from shoal.recipe.schedule_parts import Cosine
from shoal.recipe.tables import TABLES


def refusal(data: Any) -> str:
    with pytest.raises(RecipeError) as error:
        parse(data)
    return str(error.value)


def test_an_empty_mapping_is_the_default_recipe() -> None:
    recipe = parse({})
    assert recipe == Recipe()
    assert recipe.optimizer == Sgd()
    assert recipe.budget.epochs == 10


def test_a_part_is_a_name_or_a_mapping_or_an_object() -> None:
    assert parse({"optimizer": "adamw"}).optimizer == Adamw()
    assert parse({"optimizer": {"name": "adamw"}}).optimizer == Adamw()
    assert parse({"optimizer": Adamw(lr=0.5)}).optimizer.lr == 0.5
    assert parse({"optimizer": {"lr": 0.5}}).optimizer == Sgd(lr=0.5)
    assert parse({"schedules": {"momentum": "cosine"}}).schedules.momentum == Cosine()


def test_parsing_leaves_its_argument_alone() -> None:
    data: dict[str, Any] = {"optimizer": {"name": "adamw"}, "schedules": {"lr": "cosine"}}
    parse(data)
    assert data == {"optimizer": {"name": "adamw"}, "schedules": {"lr": "cosine"}}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"sead": 3}, "unknown key sead: did you mean seed? Keys of a recipe: name, seed, batch_size, "),
        ({"lr": 1}, "unknown key lr: did you mean optimizer.lr? "),
        ({"patience": 1}, "unknown key patience: did you mean early_stop.patience? "),
        (
            {"optimizer": {"lrr": 1}},
            "unknown key optimizer.lrr: did you mean optimizer.lr? Keys of optimizer: name, lr, ",
        ),
        ({"best": {"metrc": "x"}}, "unknown key best.metrc: did you mean best.metric? Keys of best: metric."),
        ({"schedules": {"lrr": {}}}, "unknown key schedules.lrr: did you mean schedules.lr? "),
        ({"schedules": {"lr": {"name": "constant", "power": 1}}}, "power is a key of polynomial, not of constant. "),
        (
            {"optimizer": {"name": "adamw", "momentum": 0.9}},
            "unknown key optimizer.momentum: momentum is a key of muon, rmsprop, schedule_free, sgd, not of adamw. ",
        ),
        (
            {"dataset": {"name": "digits", "broken": "foo"}},
            "of Datasets passed from Python, not of digits. Leave it out, ",
        ),
        ({"model": {"_target_": "os.system"}}, "unknown key model._target_: a recipe names no code to import; "),
        (
            {"optimizer": "adammw"},
            "optimizer.name: unknown optimizer 'adammw': did you mean 'adamw'? There are: adadelta, adafactor, ",
        ),
        ({"schedules": {"lr": {"name": 3}}}, "schedules.lr.name: 3 is no name: expected one of: constant, cosine, "),
        ({"optimizer": 3}, "rmsprop, schedule_free, sgd; or a mapping with a name and its keys."),
        ({"optimizer": None}, "optimizer = null: expected one of: "),
        ({"model": Sgd()}, "model = Sgd("),
        ({"best": 3}, "best = 3: expected keys below it, such as best.metric=...: which weights to keep."),
        ({"schedules": None}, "schedules = null: expected keys below it, such as schedules.lr=...: "),
        ({"optimizer": {"lr": -1}}, "optimizer.lr = -1: expected a number greater than 0: learning rate."),
        ({"optimizer": {"lr": True}}, "optimizer.lr = true: expected a number: learning rate."),
        ({"optimizer": {"lr": "0.1"}}, "optimizer.lr = '0.1': expected a number: learning rate."),
        ({"optimizer": {"momentum": 1}}, "optimizer.momentum = 1: expected a number less than 1: momentum."),
        (
            {"batch_size": 0},
            "batch_size = 0: expected a whole number of at least 1, or all: examples in a step; all is the whole of",
        ),
        ({"batch_size": 1.5}, "batch_size = 1.5: expected a whole number: "),
        ({"seed": 2**63}, f"seed = {2**63}: expected a whole number of at most 63 bits: "),
        ({"seed": float("nan")}, "seed = nan: expected a whole number: "),
        ({"deterministic": "yes"}, "deterministic = 'yes': expected true or false: "),
        ({"device": 0}, "device = 0: expected text (quote it if it looks like a number: \"'007'\"): "),
        ({"precision": "fp64"}, "precision = 'fp64': expected one of: fp32, tf32, bf16, fp16: arithmetic of the step"),
        ({"model": {"norm": "grop"}}, "model.norm = 'grop': expected one of: none, batch, group: "),
        ({"budget": {"epochs": 1, "steps": 2}}, "budget = {epochs: 1, steps: 2}: expected epochs or steps, not both"),
        ({"batch_size": "half"}, "batch_size = 'half': expected a whole number of at least 1, or all"),
        ({"name": "../x"}, "name '../x' cannot name a folder: "),
        ({"name": "a" * 300}, "(300 characters)' cannot name a folder: "),
        ({1: 2}, "recipe: expected keys that are text."),
        ({"model": {1: 2}}, "model: expected keys that are text."),
    ],
)
def test_a_refusal_says_what_was_wrong_and_what_was_expected(data: Any, message: str) -> None:
    text = refusal(data)
    assert message in text
    assert "\n" not in text


@pytest.mark.parametrize("value", ["abc", 3, True, [1, "a"], {"a": 1}])
def test_a_union_has_one_sentence(value: Any) -> None:
    text = refusal({"task": {"class_weights": value}})
    assert "\n" not in text
    assert "expected list of numbers, balanced or null: weight of each class" in text


def test_all_problems_are_named_at_once() -> None:
    text = refusal({"optimizer": {"name": "adamw", "lr": -1, "beta1": 2}, "model": "mpl", "seed": "a"})
    assert text.startswith("4 things are wrong:\n- ")
    assert len(text.splitlines()) == 5
    for named in ("model.name: unknown model 'mpl'", "optimizer.lr = -1", "optimizer.beta1 = 2", "seed = 'a'"):
        assert f"\n- {named}" in text


def test_an_entry_may_be_optional_or_required() -> None:
    text = refusal({"task": {"name": "classification", "class_weights": [True, 1]}})
    assert "class_weights" in text


def deep(depth: int = 10_000) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(depth):
        data = {"model": data}
    return data


@pytest.mark.parametrize("where", ["", "model", "budget", "schedules", "seed", "name", "task", "dataset"])
def test_deep_nesting_is_refused(where: str) -> None:
    assert len(refusal({where: deep()} if where else deep())) < 500


@pytest.mark.parametrize("key", ["seed", "batch_size", "name"])
@pytest.mark.parametrize(
    "value", [10**400, 10**5000, [[10**5000]], "x" * 10_000], ids=["large", "huge", "inside", "text"]
)
def test_enormous_values_are_refused_shortly(key: str, value: Any) -> None:
    assert len(refusal({key: value})) < 500


KEYS = sorted({*Recipe.model_fields, "lr", "momentum", "every", "metric", "epochs", "steps", "width", "class_weights"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["adamw", "sgd", "mlp", "idx", "cosine", "balanced", "regression", "../x"])
)
JUNK = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*KEYS, "name"]) | st.text(max_size=5) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=5) | st.integers(), JUNK, max_size=5))
def test_junk_is_parsed_or_refused(data: dict[Any, Any]) -> None:
    with contextlib.suppress(RecipeError):
        recipe = parse(data)
        assert from_yaml(recipe.to_yaml()) == recipe


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Valid mappings, drawn from the types and bounds of some of the fields."""
    share = st.floats(0, 0.99)
    optimizer = draw(st.sampled_from(sorted(TABLES["optimizer"])))
    schedule = st.fixed_dictionaries(
        {"name": st.sampled_from(["constant", "cosine"]), "warmup_steps": st.integers(0, 99)}
    )
    keys = {
        "name": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True),
        "seed": st.integers(0, 2**63 - 1),
        "batch_size": st.integers(1, 10**9),
        "device": st.text(),
        "model": st.fixed_dictionaries({"name": st.just("mlp"), "dropout": share, "width": st.integers(1, 999)}),
        "dataset": st.fixed_dictionaries({"name": st.just("idx"), "path": st.none() | st.text()}),
        "task": st.fixed_dictionaries({"class_weights": st.none() | st.lists(st.floats(0, 1e300), max_size=3)}),
        "optimizer": st.fixed_dictionaries(
            {"name": st.just(optimizer), "lr": st.floats(0, 1e300, exclude_min=True), "weight_decay": st.floats(0, 1)}
        ),
        "schedules": st.fixed_dictionaries({}, optional={"lr": schedule, "momentum": schedule}),
        "budget": st.one_of(st.just({}), st.fixed_dictionaries({"steps": st.integers(1, 10**12)})),
        "best": st.fixed_dictionaries({"metric": st.none() | st.text()}),
    }
    return draw(st.fixed_dictionaries({}, optional=keys))


@given(recipes())
def test_a_recipe_survives_yaml(data: dict[str, Any]) -> None:
    recipe = parse(data)
    again = from_yaml(recipe.to_yaml())
    assert again == recipe
    assert again.to_yaml() == recipe.to_yaml()
    assert parse(recipe.mapping()) == recipe


def test_a_file_written_by_hand_may_have_exponents_without_a_dot() -> None:
    assert from_yaml("optimizer: {name: sgd, lr: 1e-3}").optimizer.lr == 0.001


@pytest.mark.parametrize("text", ["", "3", "[1]", "a: ["])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match=r"^runs/x/recipe\.yaml"):
        from_yaml(text, "runs/x/recipe.yaml")


def test_the_default_of_a_part_is_an_entry_of_its_table() -> None:
    assert TABLES["model"]["mlp"] is Mlp
    for kind, part in (("model", parse({}).model), ("task", parse({}).task), ("dataset", parse({}).dataset)):
        assert type(part) is TABLES[kind][part.name]
