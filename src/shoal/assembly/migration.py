"""Runs whose recipe means something else now: what has changed, and a declaration that the result is the same.

A user's source that was edited makes strangers of all runs that it trained. Who knows that the edit changes no result
says so once: the run gets the identity that its recipe has now, keeps its history and checkpoints, and its record keeps
the identity that it had, under `formerly`. Nothing is guessed, and nothing is changed that was not accepted by name.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from shoal.assembly.build import Workshop
from shoal.assembly.ending import now
from shoal.assembly.meaning import Difference, differences
from shoal.assembly.missing import refuse_missing
from shoal.assembly.objects import Objects
from shoal.assembly.testing import with_path
from shoal.assembly.trained import recipe_of
from shoal.checkpoints import newest
from shoal.errors import (
    CheckpointError,
    InputError,
    LiveRunError,
    RecipeError,
    ShoalError,
    StoreError,
    nearest,
    place_of,
    said,
)
from shoal.recipe import Recipe
from shoal.rng import preserved
from shoal.store import RunFolder, RunId, RunLock, find, is_live, record, sweeps
from shoal.store.layout import SEED
from shoal.store.lock import refusal
from shoal.store.moving import between, rehome
from shoal.training.weights import weights_of

ALL = "all"
Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class Meaning:
    """What a recipe is now: its identity, and the names and shapes of its model's weights."""

    signature: str
    identity: Mapping[str, Any]
    shapes: Shapes


@dataclass(frozen=True)
class Examined:
    """One run: what it is now, and where that is not what was recorded; or why that cannot be known here."""

    folder: RunFolder
    facts: Mapping[str, Any]
    recipe: Recipe | None = None
    meaning: Meaning | None = None
    differences: tuple[Difference, ...] = ()
    problem: str | None = None

    @property
    def run(self) -> RunId:
        """The run that it is now."""
        assert self.meaning is not None
        return RunId(str(self.facts["name"]), self.meaning.signature, int(self.facts["seed"]))

    def accepted(self, words: Collection[str]) -> bool:
        """Return whether every difference is covered: `model` covers its source and its keys."""
        found = self.differences
        return bool(found) and all(covers(words, difference.what) for difference in found)


def covers(words: Collection[str], what: str) -> bool:
    """Return whether accepted words cover a difference.

    >>> covers({"model"}, "model.heads"), covers({"model.heads"}, "model"), covers({"all"}, "dataset")
    (True, False, True)
    """
    return any(word in (ALL, what) or what.startswith(f"{word}.") for word in words)


@dataclass
class Examiner:
    """Looks at runs; what several of them share is looked at once."""

    runs: Path
    objects: Objects = Objects()
    meanings: dict[str, Meaning | ShoalError] = field(default_factory=dict[str, "Meaning | ShoalError"])
    latest: tuple[str, Workshop] | None = None
    """The workshop before, and what its data are: the next one is likely to be about the same."""

    def examine(self, folders: Sequence[RunFolder]) -> Iterator[Examined]:
        """Yield what each run is now; runs that never began have no identity, and are left out."""
        for folder in folders:
            try:
                facts = record.read(folder)
                if not facts.get("identity"):
                    continue
                yield self._examined(folder, facts)
            except ShoalError as error:
                yield Examined(folder, {}, problem=str(error))

    def _examined(self, folder: RunFolder, facts: Mapping[str, Any]) -> Examined:
        data: Mapping[str, Any] = facts.get("data") or {}
        recipe = recipe_of(folder)
        refuse_missing(folder, recipe, self.objects, facts, then=".migrate()")
        meaning = self._meaning(with_path(recipe, data.get("path")))
        found = tuple(differences(facts["identity"], meaning.identity))
        return Examined(folder, facts, recipe, meaning, found)

    def _meaning(self, recipe: Recipe) -> Meaning:
        """What a recipe is now; seed and device make no difference. Raises what was found wrong with it before."""
        recipe = recipe.model_copy(update={"seed": 0, "name": "run", "device": "cpu"})
        key = json.dumps(recipe.mapping())
        if key not in self.meanings:
            try:
                self.meanings[key] = self._meant(recipe)
            except ShoalError as error:
                self.meanings[key] = error
        found = self.meanings[key]
        if isinstance(found, ShoalError):
            raise found
        return found

    def _meant(self, recipe: Recipe) -> Meaning:
        try:
            with preserved():
                workshop = self._workshop(recipe)
                shapes = {name: tuple(value.shape) for name, value in weights_of(workshop.model).items()}
                return Meaning(workshop.signature, workshop.identity, shapes)
        except ShoalError:
            raise
        except Exception as error:  # the boundary to the user's code: other runs can be compared all the same
            raise RecipeError(f"it cannot be built as it is now: {said(error)}{place_of(error)}.") from error

    def _workshop(self, recipe: Recipe) -> Workshop:
        mapping = recipe.mapping()
        about = json.dumps([mapping["dataset"], mapping["task"], recipe.init.source])
        if self.latest is not None and self.latest[0] == about and recipe.init.source is None:
            workshop = self.latest[1].beside(recipe)
        else:
            workshop = Workshop(recipe, self.objects, self.runs)
        _ = workshop.data
        self.latest = (about, workshop)
        return workshop


def check_words(words: Collection[str], examined: Sequence[Examined]) -> None:
    """Raise InputError for a word that covers no difference, with the nearest that one has."""
    found = {difference.what for one in examined for difference in one.differences}
    for word in words:
        if found and not any(covers({word}, what) for what in found):
            names = sorted({*found, *(what.partition(".")[0] for what in found), ALL})
            close = nearest(word, names)
            hint = f"did you mean {close}? " if close else ""
            raise InputError(f"--accept {word}: nothing of that name has changed: {hint}There are: {', '.join(names)}.")


def migrate(examined: Sequence[Examined], words: Collection[str], *, runs: Path) -> dict[Path, RunFolder]:
    """Give the runs whose differences are all accepted the identity that they have now: by old path, their folders.

    Before anything is changed all of them are checked. Raises StoreError where one would become another run that is
    there, or two the same, InputError where its checkpoints do not fit the model any more, LiveRunError for a live one.
    """
    chosen = [one for one in examined if one.accepted(words) or (one.meaning and between(one.folder) and words)]
    _check(chosen, runs)
    moved: dict[Path, RunFolder] = {}
    for one in chosen:
        with RunLock(one.folder):
            moved[one.folder.path] = rehome(
                runs, one.folder, one.run, recipe_yaml=_resolved(one), **_changes(one, words)
            )
    folders = [moved.get(one.folder.path, one.folder) for one in examined if one.problem is None]
    sweeps.readdress(runs, _addresses(folders))  # of those too that a process moved that was killed before this
    return moved


def _resolved(one: Examined) -> str:
    """The recipe with every value that it has now: keys that are new are pinned too."""
    assert one.recipe is not None
    return one.recipe.to_yaml()


def _changes(one: Examined, words: Collection[str]) -> dict[str, Any]:
    assert one.meaning is not None
    facts = one.facts
    before = {
        "signature": facts["signature"],
        "identity": facts["identity"],
        "run": one.folder.label,
        "accepted": sorted(words),
        "time": now(),
    }
    told: list[Any] = facts.get("formerly") or []
    changes: dict[str, Any] = {"identity": one.meaning.identity, "formerly": [*told, before]}
    data: Mapping[str, Any] = facts.get("data") or {}
    if data:
        digests = cast("Mapping[str, Any]", one.meaning.identity["digests"])
        changes["data"] = {**data, "digest": digests["dataset"]}
    if "recipe" in facts and one.recipe is not None:
        changes["recipe"] = one.recipe.mapping()
    return changes


def _check(chosen: Sequence[Examined], runs: Path) -> None:
    becoming: dict[tuple[str, int], Examined] = {}
    for one in chosen:
        if not SEED.fullmatch(one.folder.path.name):
            raise StoreError(f"{one.folder.label} was set aside: it keeps the identity that it had.")
        if is_live(one.folder):
            raise LiveRunError(refusal(one.folder))
        run = one.run
        same, there = becoming.get((run.signature, run.seed)), find(runs, run.signature, run.seed)
        if same is not None:
            raise StoreError(
                f"{same.folder.label} and {one.folder.label} would become the same run, {run.label}: nothing was "
                "changed. Name the one that is to be it, or remove the other (shoal rm)."
            )
        if there is not None and not there.path.samefile(one.folder.path):
            raise StoreError(
                f"{one.folder.label} would become {there.label}, which is there already ({record.status(there)}): "
                f"nothing was changed. Remove that one (shoal rm {there.label}), or leave this one out: shoal migrate "
                "RUN..."
            )
        becoming[run.signature, run.seed] = one
        _check_weights(one)


def _check_weights(one: Examined) -> None:
    """Raise InputError where the weights that were saved are not those of the model as it is now."""
    if not any(difference.what.partition(".")[0] == "model" for difference in one.differences):
        return
    try:
        loaded = newest(one.folder.checkpoints)
    except CheckpointError:  # none can be trusted: nothing is lost by another name
        return
    if loaded is None:
        return
    assert one.meaning is not None
    with loaded.understood():
        engine: Mapping[str, Any] = loaded.states["engine"]
        saved = {name: tuple(value.shape) for name, value in {**engine["parameters"], **engine["buffers"]}.items()}
    wrong = sorted(name for name in {*saved, *one.meaning.shapes} if saved.get(name) != one.meaning.shapes.get(name))
    if wrong:
        name = wrong[0]
        then, today = (_shape(shapes.get(name)) for shapes in (saved, one.meaning.shapes))
        raise InputError(
            f"{one.folder.label}: its weights do not fit the model as it is now: {name} was {then} when it was "
            f"trained, and is {today} now. That is another model: nothing was changed."
        )


def _shape(shape: tuple[int, ...] | None) -> str:
    return "not there" if shape is None else f"of shape {list(shape)}"


def _addresses(folders: Collection[RunFolder]) -> dict[tuple[str, int], tuple[str, str]]:
    """From the signatures that runs had, and their seeds, to the signatures and labels that they have."""
    found: dict[tuple[str, int], tuple[str, str]] = {}
    for folder in folders:
        facts = record.read(folder)
        for before in facts.get("formerly") or ():
            found[str(before["signature"]), int(facts["seed"])] = (str(facts["signature"]), folder.label)
    return found
