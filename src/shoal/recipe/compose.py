"""From a preset and KEY=VALUE words to a Recipe.

Hydra finds and merges YAML (packaged presets, a folder of the user's own, defaults lists, groups) and parses the
grammar of overrides; it stops there: no `_target_`, no `instantiate`. Selecting an entry (`optimizer=adamw`,
`optimizer.name=adamw`) replaces the whole part by the entry with its defaults; values are applied after that, in any
order on the command line.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, cast

import yaml
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from shoal.errors import RecipeError, nearest, unknown
from shoal.files import expanded
from shoal.recipe.extend import PLAIN_NAME, in_force, only
from shoal.recipe.parse import PARTS, parse
from shoal.recipe.schema import Recipe
from shoal.recipe.tables import TABLES
from shoal.recipe.words import shown

DEFAULT_PRESET = "digits"


def compose(preset: str = DEFAULT_PRESET, words: Sequence[str] = (), *, config_dir: Path | None = None) -> Recipe:
    """Return the recipe of a preset with `KEY=VALUE` words applied to it.

    >>> compose("digits_mlp", ["optimizer.lr=1e-1", "seed=1.0"]).optimizer.lr
    0.1
    """
    data = preset_mapping(preset, config_dir=config_dir)
    return parse(apply(data, [override(word) for word in words], config_dir=config_dir))


def presets(config_dir: Path | None = None) -> dict[str, Path]:
    """Return the file of every preset by name; those of `config_dir` come before the packaged ones."""
    found = {path.stem: path for path in sorted(_packaged().glob("*.yaml"))}
    if config_dir is not None:
        found |= {path.stem: path for path in sorted(_folder(config_dir).glob("*.yaml"))}
    return found


def preset_mapping(preset: str, *, config_dir: Path | None = None) -> dict[str, Any]:
    """Return a preset as a plain mapping, its name filled in; raises RecipeError for a name that is not there."""
    known = presets(config_dir)
    if preset not in known:
        hint = "" if config_dir else " Presets of your own come with --config-dir DIR, or config_dir=DIR in Python."
        raise RecipeError(unknown("preset", preset, known) + hint)
    standings = in_force(known[preset], _folders(config_dir))
    return {"name": preset, **only(standings, _load(known[preset], preset, []))}


def override(word: str) -> tuple[str, Any]:
    """Parse one KEY=VALUE word into a key path and a plain value, by Hydra's grammar.

    A value that the grammar cannot read (a path with spaces or '=') is taken as text.
    """
    key, equals, text = word.partition("=")
    if not equals or not key or key.startswith(("+", "~")) or not all(key.split(".")):
        raise RecipeError(f"{shown(word)}: expected KEY=VALUE, such as optimizer.lr=0.05.")
    try:
        parsed: Override = OverridesParser.create().parse_override(word)
    except (HydraException, ValueError):
        return key, text
    except RecursionError as error:
        raise RecipeError(f"{shown(word)}: the value is nested too deeply to be one of a recipe.") from error
    if parsed.is_sweep_override():
        raise RecipeError(
            f"{shown(word)}: one training takes one value for {key}; quote text that has a comma: {key}=\"'{text}'\"."
        )
    return key, _plain(parsed.value())


def apply(
    data: Mapping[str, Any], overrides: Sequence[tuple[str, Any]], *, config_dir: Path | None = None
) -> dict[str, Any]:
    """Return `data` with selections applied first, then values; giving one kind of budget replaces the other."""
    result = _copy(data)
    selections = [(key.removesuffix(".name"), value) for key, value in overrides if _is_selection(key, value)]
    for path, choice in selections:
        _put(result, path, _selected(path, choice, config_dir))
    if any(key in ("budget.epochs", "budget.steps") for key, _ in overrides):
        result["budget"] = {}
    for key, value in overrides:
        if not _is_selection(key, value):
            _put(result, key, value)
    return result


def _is_selection(key: str, value: Any) -> bool:
    return key.removesuffix(".name") in PARTS and isinstance(value, str)


def _selected(path: str, choice: str, config_dir: Path | None) -> dict[str, Any]:
    """The entry with its defaults, or a group file of the user's: `optimizer/fast.yaml` for `optimizer=fast`."""
    if choice in TABLES[PARTS[path]] or config_dir is None or not PLAIN_NAME.fullmatch(choice):
        return {"name": choice}
    folder, group = _folder(config_dir), path.replace(".", "/")
    own = folder / group / f"{choice}.yaml"
    if not own.is_file():
        return {"name": choice}  # refused by parse, with the nearest name
    standings = in_force(own, _folders(config_dir), part=path)
    part: Any = only(standings, _load(own, None, [f"+{group}@{path}={choice}"], folder))
    for name in path.split("."):
        part = part[name]
    return part


def _load(file: Path, name: str | None, overrides: list[str], folder: Path | None = None) -> dict[str, Any]:
    """Let Hydra merge a file with all that it extends; `folder` is where the names in it start, else its own."""
    home, packaged = folder or file.parent, _packaged()
    quoted = str(packaged).replace("'", "\\'")
    search = [] if home == packaged else [f"hydra.searchpath=['file://{quoted}']"]
    singleton = GlobalHydra.instance()
    of_the_caller = singleton.hydra
    singleton.clear()
    try:
        with warnings.catch_warnings(), initialize_config_dir(str(home), version_base="1.3"):
            warnings.simplefilter("ignore")  # a defaults list without _self_ has it at its end, as the docs say
            config = hydra_compose(config_name=name, overrides=[*search, *overrides])
            data = OmegaConf.to_container(config, resolve=True)
    except (HydraException, OmegaConfBaseException, yaml.YAMLError, ValueError) as error:
        key = getattr(error, "full_key", None)  # OmegaConf's errors have one
        place = f"{file}: {key}" if key else str(file)
        raise RecipeError(f"{place}: {(str(error).splitlines() or [type(error).__name__])[0].rstrip('.')}.") from error
    except RecursionError as error:
        raise RecipeError(f"{file}: the values refer to themselves, or are nested too deeply.") from error
    finally:
        singleton.hydra = of_the_caller
    assert isinstance(data, dict)
    return cast(dict[str, Any], data)


def _packaged() -> Path:
    return Path(str(resources.files("shoal.recipe") / "conf"))


def _folders(config_dir: Path | None) -> list[Path]:
    """Where presets and groups are looked for, the user's own first."""
    return [*([_folder(config_dir)] if config_dir else []), _packaged()]


def _folder(config_dir: Path) -> Path:
    folder = expanded(config_dir).resolve()
    if not folder.is_dir():
        raise RecipeError(f"there is no folder of presets {str(config_dir)!r}.")
    return folder


def _put(data: dict[str, Any], key: str, value: Any) -> None:
    *above, last = key.split(".")
    for name in above:
        inner = data.setdefault(name, {})
        if isinstance(inner, str) and name in {path.split(".")[-1] for path in PARTS}:
            inner = data[name] = {"name": inner}
        if not isinstance(inner, dict):
            close = nearest(key, PARTS)
            raise RecipeError(
                f"unknown key {shown(key)[1:-1]}: {name} has no keys below it."
                + (f" Did you mean {close}?" if close else "")
            )
        data = cast(dict[str, Any], inner)
    data[last] = value


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in cast(Mapping[str, Any], value).items()}
    return value


def _plain(value: Any) -> Any:
    """Hydra's parsed value as plain data."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [_plain(item) for item in cast(list[Any], value)]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast(dict[Any, Any], value).items()}
    return value
