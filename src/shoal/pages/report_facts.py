"""The parts of a page that say what was trained and where: the recipe, the data, the machine, the source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from shoal.files import to_json
from shoal.pages import formats
from shoal.pages.lenient import inner, rows_of, texts_of
from shoal.pages.markup import Content, Html, tag
from shoal.pages.plan_facts import plan_facts, scaled_rows
from shoal.pages.tables import facts, grid
from shoal.store import RunFolder

LONGEST_YAML = 60_000
FEW = 8
"""Normalisation constants that are written out."""


def recipe(folder: RunFolder, known: Mapping[str, Any]) -> Html:
    """Return the section: what the recipe says beside the defaults, and its full text folded."""
    rows = [[row.get("key"), value(row.get("value")), value(row.get("default"))] for row in rows_of(known, "said")]
    if rows:
        table: Content = grid(["key", "value", "default"], rows, numbers_from=3)
    else:
        identity = inner(inner(known, "identity"), "recipe")
        flat = list(_flat(identity))
        table = facts(flat) if flat else tag("p", "What the recipe says beside the defaults is not recorded.")
    return tag("section", tag("h2", "Recipe"), table, _scaled(known), _full(folder))


def _scaled(known: Mapping[str, Any]) -> Content:
    """What was trained with in place of what the recipe says, for the batch is another than its values are for."""
    rows = scaled_rows(known)
    if not rows:
        return None
    words = "The recipe has values for another batch size (scale_from). Trained with:"
    return [tag("p", words), grid(["key", "in the recipe", "trained with", "why"], rows, numbers_from=4)]


def _full(folder: RunFolder) -> Html:
    try:
        text = folder.recipe.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return tag("p", "There is no recipe.yaml.", class_="soft")
    cut = (
        text if len(text) <= LONGEST_YAML else f"{text[:LONGEST_YAML]}\n# {len(text) - LONGEST_YAML:,} characters more"
    )
    return tag("details", tag("summary", "The full recipe"), tag("pre", cut))


def _flat(mapping: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Content]]:
    for key in mapping:
        below = inner(mapping, key)
        if below:
            yield from _flat(below, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value(mapping[key])


def value(found: object) -> str:
    """Return a setting as a recipe would write it."""
    if found is None:
        return "null"
    return found if isinstance(found, str) else to_json(found)


def provenance(folder: RunFolder, known: Mapping[str, Any]) -> Html:
    """Return the section: data, plan, versions, command, source."""
    source, data = inner(known, "provenance"), inner(known, "data")
    versions = ", ".join(f"{name} {version}" for name, version in inner(source, "versions").items())
    sizes = ", ".join(f"{split} {formats.number(size)}" for split, size in inner(data, "sizes").items())
    machine = [
        ("host", known.get("host") or source.get("host")),
        ("system", source.get("platform")),
        ("Python", source.get("python")),
        ("versions", versions),
        ("command", _code(source.get("command"))),
        ("commit", _commit(inner(source, "git"))),
        ("changes", "code.patch holds what was not committed" if folder.patch.exists() else None),
        *plan_facts(known),
    ]
    trained = [
        ("run", folder.label),
        ("signature", _code(known.get("signature"))),
        ("seed", known.get("seed")),
        ("parameters", formats.number(known["parameters"]) if known.get("parameters") is not None else None),
        ("dataset", data.get("name")),
        ("path", data.get("path")),
        ("examples", sizes),
        ("digest", _code(data.get("digest"))),
        ("input", _shape(data.get("input_shape"))),
        ("normalisation", _normalisation(data)),
        ("notes", "; ".join(texts_of(data, "notes"))),
    ]
    columns = tag("div", facts(trained), facts(machine), class_="columns")
    return tag("section", tag("h2", "Where it comes from"), columns)


def _code(text: object) -> Html | None:
    return tag("code", text) if text else None


def _commit(git: Mapping[str, Any]) -> Content:
    if not git.get("commit"):
        return None
    branch = f" on {git['branch']}" if git.get("branch") else ""
    return [
        tag("code", git["commit"]),
        f"{branch}{', with changes that were not committed' if git.get('dirty') else ''}",
    ]


def _shape(shape: object) -> str | None:
    return to_json(shape) if isinstance(shape, list) and shape else None


def _normalisation(data: Mapping[str, Any]) -> str | None:
    constants = inner(data, "normalisation")
    if not constants:
        return "none" if data else None
    told = [f"{name} {_numbers(list(_leaves(constants[name])))}" for name in ("mean", "deviation") if name in constants]
    return ", ".join(told)


def _leaves(nested: Any) -> Iterable[object]:
    if isinstance(nested, list):
        for item in nested:  # pyright: ignore[reportUnknownVariableType]
            yield from _leaves(item)
    else:
        yield nested


def _numbers(found: list[object]) -> str:
    if len(found) > FEW:
        return f"of {formats.count(len(found))} features"
    return " ".join(formats.number(number) for number in found)
