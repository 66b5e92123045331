"""What was wanted together: `runs/.sweeps/<name>.json`, so that a sweep can be shown, continued and reported by name.

It says which runs belong to a sweep and what varies among them; what became of them is in their own folders, which are
found by signature and seed. A run that has no folder yet is queued. Points that are no longer listed stay in the
sweep, marked so.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from shoal import files
from shoal.errors import StoreError, other_format, unknown
from shoal.store.layout import SIGNATURE

FORMAT = 1
FOLDER = ".sweeps"


class DamagedSweepError(StoreError):
    """The file of a sweep cannot be read."""


@dataclass(frozen=True)
class Point:
    """One run that a sweep wants: its identity, and what is its own beside the base."""

    run: str
    """The label it has, or will have: `<name>-<12 digits of the signature>/seed-<n>`."""
    signature: str
    seed: int
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """The keys that vary in the sweep, dotted, with this run's values; `seed` is not among them."""
    overrides: dict[str, Any] = field(default_factory=dict[str, Any])
    """What is applied to the base, in order; the seed too."""
    listed: bool = True
    """False for a point that an earlier version of the sweep had."""


@dataclass(frozen=True)
class Sweep:
    """A set of runs wanted together, and how they were chosen."""

    name: str
    command: str = ""
    """The words it was last asked for with."""
    made: str = ""
    updated: str = ""
    base: dict[str, Any] = field(default_factory=dict[str, Any])
    """The recipe that all points start from, as nested keys."""
    keys: tuple[str, ...] = ()
    """What varies beside the seed, in the order in which it was said."""
    points: tuple[Point, ...] = ()
    modules: tuple[str, ...] = ()
    """Modules of the user's that were imported for it."""

    @property
    def seeds(self) -> int:
        """How many different seeds there are."""
        return len({point.seed for point in self.points if point.listed})


def path_of(runs: Path, name: str, *, suffix: str = ".json") -> Path:
    """Return where the file of a sweep is; raises InputError for a name that cannot be a file's."""
    return runs / FOLDER / f"{files.safe_name(name, 'sweep')}{suffix}"


def names(runs: Path) -> list[str]:
    """Return the names of all sweeps in a runs folder, sorted."""
    return sorted(path.stem for path in (runs / FOLDER).glob("*.json") if not path.name.startswith("."))


def write(runs: Path, sweep: Sweep) -> Path:
    """Write a sweep's file, whole, and return its path."""
    path = path_of(runs, sweep.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_atomic(path, files.to_json({"format": FORMAT, **asdict(sweep)}) + "\n")
    return path


def read(runs: Path, name: str) -> Sweep:
    """Return a sweep; raises StoreError where there is none (with the nearest), or for a file that is no sweep's."""
    path = path_of(runs, name)
    try:
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise StoreError(f"{unknown('sweep', name, names(runs))[:-1]} in {str(runs)!r}.") from None
    except OSError as error:
        raise StoreError(f"cannot read the sweep {str(path)!r}: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise DamagedSweepError(_damaged(path, f"it is not JSON: {error}")) from error
    if not isinstance(found, dict):
        raise DamagedSweepError(_damaged(path, f"it holds {type(found).__name__}, expected an object"))
    data = cast(dict[str, Any], found)
    written = data.pop("format", None)
    if type(written) is not int:
        raise DamagedSweepError(_damaged(path, "it does not say its format"))
    if written != FORMAT:
        raise StoreError(f"the sweep {str(path)!r} is {other_format(written, FORMAT)}.")
    try:
        return _sweep(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedSweepError(_damaged(path, f"it is no sweep's ({error})")) from error


def _sweep(data: Mapping[str, Any]) -> Sweep:
    points = tuple(Point(**point) for point in data["points"])
    wrong = next(
        (point for point in points if type(point.seed) is not int or SIGNATURE.fullmatch(point.signature) is None), None
    )
    if wrong is not None:
        raise ValueError(f"a point is {wrong.run!r}")
    changed: dict[str, Any] = {"points": points, "keys": tuple(data["keys"]), "modules": tuple(data.get("modules", ()))}
    return Sweep(**{**data, **changed})


def _damaged(path: Path, why: str) -> str:
    return f"the sweep {str(path)!r} is damaged: {why}. Run 'shoal sweep' with its words again: it is made anew."


def readdress(runs: Path, moved: Mapping[tuple[str, int], tuple[str, str]]) -> None:
    """Let points name runs by the signature and label that they have now; `moved` is by old signature and seed.

    A file that is damaged is left as it is.
    """
    for name in names(runs):
        try:
            sweep = read(runs, name)
        except StoreError:
            continue
        points = tuple(_readdressed(point, moved) for point in sweep.points)
        if points != sweep.points:
            write(runs, replace(sweep, points=points))


def _readdressed(point: Point, moved: Mapping[tuple[str, int], tuple[str, str]]) -> Point:
    now = moved.get((point.signature, point.seed))
    return point if now is None else replace(point, signature=now[0], run=now[1])
