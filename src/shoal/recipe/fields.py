"""How a field of a recipe is declared: its meaning, unit and bounds, its place in identity, whether it stacks.

`setting` is the only way to declare a field, so that no field can leave these out. The schema command, the
signature and the planner of stacks all read the marks that it leaves; there is no second list.
"""

from __future__ import annotations

import math
import numbers
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, Strict
from pydantic.fields import FieldInfo


class _Mark:
    """A named sentinel for `identity`."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


ALWAYS: Final = _Mark("ALWAYS")
"""The field is in the signature whatever its value: it has no old behaviour to stand for."""
NEVER: Final = _Mark("NEVER")
"""The field is not meant to change the result (a path, a device, an interval of logging): it stays out."""


def _integer(value: Any) -> Any:
    number: Any = value
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Integral):
        real = float(value)
        number = int(real) if real.is_integer() else None
    if isinstance(value, bool) or not isinstance(number, numbers.Integral):
        raise ValueError("expected a whole number")
    if not -(2**63) <= int(number) < 2**63:
        raise ValueError("expected a whole number of at most 63 bits")
    return int(number)


def _real(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ValueError("expected a number")
    try:
        real = float(value)
    except OverflowError:
        real = math.inf
    if not math.isfinite(real):
        raise ValueError("expected a finite number")
    return real + 0.0  # -0.0 and 0.0 mean the same run


def _batch_size(value: Any) -> Any:
    if value == "all":
        return value
    number = 0 if isinstance(value, str) else _integer(value)
    if number < 1:
        raise ValueError("expected a whole number of at least 1, or all")
    return number


def _names(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if not (value.startswith("[") and value.endswith("]")):
        return (value,)
    return tuple(filter(None, (name.strip().strip("'\"") for name in value[1:-1].split(","))))


Int = Annotated[int, BeforeValidator(_integer)]
"""A whole number: 1 and 1.0 agree; booleans and texts are refused."""
Float = Annotated[float, BeforeValidator(_real)]
"""A finite number: 1 and 1.0 agree; booleans and texts are refused."""
WHOLE = BeforeValidator(_integer)
"""For a choice among whole numbers, `Annotated[Literal[1, 3], WHOLE]`: without it, true would be 1."""
BatchSize = Annotated[int | Literal["all"], BeforeValidator(_batch_size)]
"""A whole number of at least 1, or all."""
Flag = Annotated[bool, Strict()]
Text = Annotated[str, Strict()]
Names = Annotated[tuple[Text, ...], BeforeValidator(_names)]
"""Texts: a list, or one text that stands for itself, or `[a,b]` as it was written where a shell took its quotes."""


class Settings(BaseModel):
    """A frozen group of fields; unknown keys are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", validate_default=True, allow_inf_nan=False, protected_namespaces=()
    )


class Part(Settings):
    """The parameters of one entry of a table: a dataset, a model, a task, an optimizer, a schedule."""

    name: str = ""


@dataclass(frozen=True)
class Marks:
    """What `setting` recorded about a field."""

    meaning: str
    unit: str | None
    identity: Any
    stackable: bool


def setting(
    default: Any,
    meaning: str,
    *,
    identity: Any,
    unit: str | None = None,
    stackable: bool = False,
    **bounds: Any,
) -> Any:
    """Declare a field of a recipe.

    `identity` is the frozen identity value: the value that stays out of the signature. It is written out even where
    it equals the default, because a default may change and the identity value may not. ALWAYS and NEVER are for the
    fields that have none. `stackable` marks a hyperparameter that may differ between the runs of one stack.
    """
    extra: Any = {"marks": Marks(meaning, unit, identity, stackable)}
    return Field(default=default, description=meaning, json_schema_extra=extra, **bounds)


def marks(field: FieldInfo) -> Marks:
    """Return what `setting` recorded about a field."""
    extra: Any = field.json_schema_extra
    assert isinstance(extra, dict) and "marks" in extra, "declare recipe fields with setting()"
    return cast(dict[str, Marks], extra)["marks"]
