"""Entries of the user's own: the keys that a factory's annotations make, and the factories that are refused."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal

import pytest

from shoal.errors import InputError, RecipeError
from shoal.recipe import parse, signature
from shoal.recipe.describe import keys
from shoal.recipe.fields import ALWAYS, NEVER, marks
from shoal.recipe.own import declare

SUPPLIED = ("input_shape", "outputs")


def annotated(
    input_shape: tuple[int, ...],
    outputs: int,
    width: int,
    rate: float = 0.5,
    *,
    flag: bool = False,
    kind: Literal["a", "b"] = "a",
    sizes: tuple[int, ...] = (3, 4),
    limit: float | None = None,
    **rest: Any,
) -> None:
    """A model of somebody's own."""


def model(**given: Any) -> Any:
    return parse({"model": {"name": "mine", **given}}).model


def refusal(factory: Callable[..., Any], kind: str = "model", name: str = "mine") -> str:
    with pytest.raises(InputError) as error:
        declare(kind, name, factory, supplied=SUPPLIED)
    return str(error.value)


def test_annotated_parameters_become_keys() -> None:
    cls = declare("model", "mine", annotated, supplied=SUPPLIED)
    assert list(cls.model_fields) == ["name", "width", "rate", "flag", "kind", "sizes", "limit"]
    assert cls.__doc__ == "A model of somebody's own."
    part = model(width=2.0, rate=1, sizes=[5], limit=2)
    assert part.model_dump() == {
        "name": "mine", "width": 2, "rate": 1.0, "flag": False, "kind": "a", "sizes": (5,), "limit": 2.0,
    }  # fmt: skip
    assert marks(cls.model_fields["rate"]).identity is ALWAYS


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({}, "model.width is missing, and it has no default: parameter of annotated."),
        ({"width": True}, "model.width = true: expected a whole number"),
        ({"width": 1, "rate": "1"}, "model.rate = '1': expected a number"),
        ({"width": 1, "flag": 1}, "model.flag = 1: expected true or false"),
        ({"width": 1, "kind": "c"}, "model.kind = 'c': expected one of: a, b"),
        ({"width": 1, "sizes": [1, True]}, "model.sizes = [1, True]: expected list of whole numbers"),
        ({"width": 1, "limit": True}, "model.limit = true: expected a number"),
        ({"width": 1, "widht": 1}, "unknown key model.widht: did you mean model.width?"),
    ],
)
def test_keys_are_checked_as_those_of_shipped_entries(keys: dict[str, Any], message: str) -> None:
    declare("model", "mine", annotated, supplied=SUPPLIED)
    with pytest.raises(RecipeError) as error:
        model(**keys)
    assert message in str(error.value)


def test_keys_are_part_of_identity() -> None:
    declare("model", "mine", annotated, supplied=SUPPLIED)
    one, other = (parse({"model": {"name": "mine", "width": 1, "rate": rate}}) for rate in (0.1, 0.2))
    assert signature(one) != signature(other)


def test_the_initialiser_of_a_class_is_read() -> None:
    class Mine:
        def __init__(self, outputs: int, width: int = 3) -> None: ...

    assert list(declare("model", "mine", Mine, supplied=SUPPLIED).model_fields) == ["name", "width"]
    assert model().width == 3


def test_a_factory_without_parameters_has_no_keys() -> None:
    assert list(declare("model", "mine", lambda: None, supplied=()).model_fields) == ["name"]


def test_a_shared_key_keeps_its_marks_and_bounds() -> None:
    def data(path: str = "data", workers: int = 2, rows: int = 5) -> None: ...

    cls = declare("dataset", "mine", data, supplied=())
    assert marks(cls.model_fields["path"]).identity is NEVER
    one, other = (parse({"dataset": {"name": "mine", "path": path}}) for path in ("here", "there"))
    assert signature(one) == signature(other)
    assert parse({"dataset": "mine"}).dataset.workers == 2  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match=r"dataset\.workers = -1: expected a number of at least 0"):
        parse({"dataset": {"name": "mine", "workers": -1}})


def test_a_shared_key_without_a_default_has_that_of_all() -> None:
    def lion(params: Any, lr: float, weight_decay: float = 0.5) -> None: ...

    declare("optimizer", "mine", lion, supplied=("params",))
    optimizer = parse({"optimizer": "mine"}).optimizer
    assert (optimizer.lr, optimizer.weight_decay) == (0.1, 0.5)


def test_a_path_without_a_default_has_to_be_given() -> None:
    def data(path: str) -> None: ...

    declare("dataset", "mine", data, supplied=())
    with pytest.raises(RecipeError, match=r"dataset\.path is missing, and it has no default: where the files are"):
        parse({"dataset": "mine"})


def test_own_keys_are_described() -> None:
    declare("model", "mine", annotated, supplied=SUPPLIED)
    rows = {row["key"]: row for row in keys() if row.get("entry") == "mine"}
    assert rows["model.width"]["required"]
    assert rows["model.sizes"]["default"] == [3, 4]
    assert rows["model.limit"]["type"] == "number or null"


def unannotated(width=3) -> None: ...
def unresolved(width: Nowhere = 3) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def of_an_object(layer: object) -> None: ...
def of_a_list(sizes: list[int]) -> None: ...
def named(name: str = "x") -> None: ...
def positional(width: int = 3, /) -> None: ...
def wrong_default(width: int = None) -> None: ...  # type: ignore[assignment]  # noqa: RUF013


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (unannotated, "its parameter 'width' needs an annotation (such as width: int = 1)"),
        (unresolved, "an annotation cannot be resolved: name 'Nowhere' is not defined."),
        (of_an_object, "its parameter 'layer' is of type object: expected int, float, bool, str, "),
        (of_a_list, "its parameter 'sizes' is of type list of whole numbers: expected int, "),
        (named, "a name other than 'name'"),
        (positional, "its parameter 'width' is given by position only"),
        (wrong_default, "the default of its parameter 'width' is null: expected whole number."),
        (functools.partial(annotated, width=1), "expected a function or a class, got partial."),
        (3, "expected a function or a class, got int."),
    ],
)
def test_a_factory_that_cannot_be_described_is_refused(factory: Any, message: str) -> None:
    text = refusal(factory)
    assert text.startswith("the model 'mine'")
    assert message in text


@pytest.mark.parametrize("name", ["../x", "", "a b", "x" * 300])
def test_a_name_that_is_no_name_is_refused(name: str) -> None:
    assert "cannot name" in refusal(annotated, name=name)


def test_a_name_is_taken_once() -> None:
    assert "the model 'mlp' is registered twice (first in shoal.recipe.parts)" in refusal(annotated, name="mlp")
    declare("model", "mine", annotated, supplied=SUPPLIED)
    assert f"registered twice (first in {__name__})" in refusal(annotated)


def test_a_notebook_cell_can_be_run_again() -> None:
    def first(width: int = 1) -> None: ...
    def second(depth: int = 1) -> None: ...

    first.__module__ = second.__module__ = "__main__"
    declare("model", "mine", first, supplied=())
    cls = declare("model", "mine", second, supplied=())
    assert list(cls.model_fields) == ["name", "depth"]
    assert "registered twice (first in __main__)" in refusal(annotated)
