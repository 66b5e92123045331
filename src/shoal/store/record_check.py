"""What is wrong with a record that can be read: a key is missing, a value is none that is ever written, recipe.yaml is
not the recorded one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from shoal.errors import RecipeError
from shoal.files import to_json
from shoal.store.layout import SEED, SIGNATURE, RunFolder
from shoal.store.record import STATUSES, journals, recipe

AGAIN = "The same shoal train writes it again."


def record_problems(folder: RunFolder, known: Mapping[str, Any], *, trained: bool) -> list[str]:
    """Return what is wrong; `trained`: there are checkpoints. A run that ended before it was made states little yet."""
    if not (trained or folder.recipe.is_file()):
        return [*_of_status(folder, known)] if known else []
    if not known:
        return [f"{folder.record}: it is missing, and with it status, signature, seed and plan. {AGAIN}"]
    return [*_of_status(folder, known), *_of_identity(folder, known), *_of_recipe(folder, known), *_of_journals(known)]


def _of_status(folder: RunFolder, known: Mapping[str, Any]) -> Iterator[str]:
    said = known.get("status")
    if said not in STATUSES:
        yield f"{folder.record}: status = {to_json(said)}: expected one of: {', '.join(STATUSES)}."


def _of_identity(folder: RunFolder, known: Mapping[str, Any]) -> Iterator[str]:
    from shoal.recipe.signature import of_form  # noqa: PLC0415 needs pydantic, which the store does without

    signature, seed = known.get("signature"), known.get("seed")
    form, named = known.get("identity"), SEED.match(folder.path.name)
    if not isinstance(signature, str) or not SIGNATURE.fullmatch(signature):
        yield f"{folder.record}: signature = {to_json(signature)}: expected 32 hexadecimal digits."
    elif isinstance(form, dict) and of_form(cast(dict[str, Any], form)) != signature:
        yield f"{folder.record}: signature = {signature}: it is not that of what the record has under identity."
    if type(seed) is not int or seed < 0:
        yield f"{folder.record}: seed = {to_json(seed)}: expected a whole number."
    elif named is not None and int(named["seed"]) != seed:
        yield f"{folder.record}: seed = {seed}: it lies in the folder {folder.path.name}."


def _of_recipe(folder: RunFolder, known: Mapping[str, Any]) -> Iterator[str]:
    from shoal.recipe.changed import changes  # noqa: PLC0415

    recorded = recipe(known)
    if not folder.recipe.is_file():
        yield f"{folder.recipe}: it is missing. {AGAIN}"
        return
    try:
        said = changes(folder.recipe, recorded)
    except RecipeError as error:
        said = str(error)
        yield said if str(folder.recipe) in said else f"{folder.recipe}: {said}"
        return
    if said:
        yield f"{folder.recipe}: changed since the run was made: {said}"


def _of_journals(known: Mapping[str, Any]) -> Iterator[str]:
    for told in journals(known):
        if told["missing"]:
            yield str(told["said"])
