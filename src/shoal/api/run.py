"""A run, as Python sees it: a view of its folder, which anything may have trained."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from torch import nn

from shoal.api.frames import dataframe
from shoal.api.overrides import overrides_of
from shoal.assembly import Objects, Screen, export, extend, recipe_of, test_run, trained_model
from shoal.assembly.migration import Examiner, covers, migrate
from shoal.assembly.opened import states_of
from shoal.assembly.prediction import Predictions, predict
from shoal.assembly.sampling import Sampling, sample
from shoal.datasets.tokens import Tokenizer, recorded
from shoal.errors import InputError
from shoal.pages.export_targets import Targets
from shoal.pages.history_file import columns
from shoal.pages.notebook import run_html
from shoal.recipe import Recipe
from shoal.store import RunFolder, notes, read_journal, record


@dataclass(frozen=True)
class Run:
    """One run. Everything is read from its folder when it is asked for; only `recipe` is kept."""

    location: RunFolder
    objects: Objects = field(default=Objects(), repr=False)

    @property
    def folder(self) -> Path:
        """Where the run is."""
        return self.location.path

    @property
    def label(self) -> str:
        """What commands call it: `<name>-<signature>/seed-<n>`."""
        return self.location.label

    @property
    def result(self) -> dict[str, Any]:
        """What `--json` prints: run, signature, seed, status, folder, steps, metrics."""
        return record.result(self.location)

    @property
    def status(self) -> str:
        """One of queued, running, finished, failed, stopped, killed."""
        return record.status(self.location)

    @property
    def record(self) -> dict[str, Any]:
        """The content of run.json: plan, provenance, data, times."""
        return record.read(self.location)

    @property
    def metrics(self) -> dict[str, float]:
        """Final metrics, `{"test.accuracy": 0.98, ...}`.

        They are of the best weights where the recipe keeps them, else of the last; those of averaged weights, where
        there are any, are `test_average.accuracy` and so on.
        """
        return self.result["metrics"]

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.result["seed"])

    @property
    def signature(self) -> str:
        """The 32 hex digits that identify the experiment."""
        return str(self.result["signature"])

    @property
    def tags(self) -> tuple[str, ...]:
        """The tags that people gave it, in the order of the alphabet."""
        return notes.of(self.location).tags

    @property
    def note(self) -> str:
        """What people say of it, "" where nothing was said."""
        return notes.of(self.location).note

    def tag(self, *tags: str) -> None:
        """Give the run tags; raises InputError for what cannot be one. A live run may be tagged too."""
        notes.change(self.location, add=tags)

    def untag(self, *tags: str) -> None:
        """Take tags away; those that it does not have are left out."""
        notes.change(self.location, remove=tags)

    def annotate(self, note: str, *, append: bool = False) -> None:
        """Set the note, or append a line to it."""
        notes.change(self.location, note=note, append=append)

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows of history.jsonl: step, epoch, and the metrics recorded there."""
        return read_journal(self.location.history)[0]

    def frame(self) -> Any:
        """Return the history as a pandas DataFrame, one row a record; raises InputError where there is no pandas."""
        return dataframe(columns(self.history))

    @cached_property
    def recipe(self) -> Recipe:
        """The full recipe."""
        return recipe_of(self.location)

    def model(self, *, normalised: bool = True, weights: str | None = None) -> nn.Module:
        """Return the trained network in eval mode, on the CPU, ready to predict.

        It takes inputs [B, *input_shape] as they are in the dataset and normalises them as in training; with
        `normalised=False` it takes them normalised. `weights` are "best", "average" or "raw" (the last as they were
        trained); by default the best where the recipe keeps them, else the averaged ones where it has an average, else
        the last. Raises InputError for weights that the run does not have.
        """
        return trained_model(self.location, self.objects, normalised=normalised, weights=weights)

    def states(self) -> dict[str, Any]:
        """Return the states that the program of an `open_run` registered, by name: `states()["generator"]`, on the CPU.

        Raises StoreError for a run that has none, as one that was trained from a recipe.
        """
        return states_of(self.location)

    def _repr_html_(self) -> str:
        return run_html(self.location)

    def export(
        self,
        *,
        weights: str | Path | None = None,
        onnx: str | Path | None = None,
        history: str | Path | None = None,
        tensorboard: str | Path | None = None,
        which: str | None = None,
        force: bool = False,
        quiet: bool = False,
    ) -> dict[str, Path]:
        """Write the run for other programs, and return the path of each form.

        - weights: FILE.safetensors, the weights by name
        - onnx: FILE.onnx, the model; it takes inputs as they are in the dataset, in batches of any size
        - history: FILE.csv or FILE.parquet
        - tensorboard: a folder for TensorBoard

        `which` chooses the weights of the first two, as `weights` does in `model`. Nothing that exists is overwritten
        without `force`. Raises InputError for what cannot be written as asked,
        ExportError for a model that cannot be exported.
        """
        given = {"weights": weights, "onnx": onnx, "history": history, "tensorboard": tensorboard}
        targets = Targets(**{form: Path(path) for form, path in given.items() if path is not None})
        export(self.location, targets, self.objects, which=which, force=force, say=Screen(quiet=quiet).say)
        return targets.wanted

    def test(
        self,
        *,
        split: str = "test",
        path: str | None = None,
        device: str = "auto",
        weights: str | None = None,
        precision: str | None = None,
    ) -> dict[str, float]:
        """Measure the run again on a split of its dataset, or of other data at `path`; return metrics by name.

        `test.*` are of the best weights where the run kept them, else of the last; where it has an average then,
        `test_average.*` are of that. `weights` ("raw", "average", "best") measures one of them. Under the same device
        and torch the numbers are those that training recorded; `precision` computes in another than the training's.
        """
        chosen = {"weights": weights, "precision": precision}
        found = test_run(self.location, self.objects, path=path, device=device, split=split, **chosen)
        for note in found.notes:
            warnings.warn(note, stacklevel=2)
        return found.metrics

    def extend(self, budget: Mapping[str, Any], *, runs: str | Path | None = None, quiet: bool = False) -> Run:
        """Train the run's recipe for longer, from where it stands, and return the run that this is.

        `budget` is `{"budget.epochs": 20}` or `{"budget.steps": 5000}`. The longer run lies in `runs`, by default
        beside this one, which stays as it is; it ends with the same bits as if it had been trained from the start.
        Raises InputError where their first steps differ, with the key, the step and both values.
        """
        folder = self.folder.absolute().parents[1] if runs is None else Path(runs)
        changes = list(overrides_of(budget).items())
        return Run(extend(self.location, changes, self.objects, runs=folder, screen=Screen(quiet=quiet)), self.objects)

    def migrate(self, *accept: str) -> Run:
        """Return the run under the identity that it has now, after what `accept` names was changed without consequence.

        `"model"` declares that the source of the model was edited and gives the same results, `"dataset"` the same of
        the data, `"all"` of everything. Raises InputError for what changed and is not accepted, with nothing done.
        """
        folder = self.folder.absolute().parents[1]
        one = next(Examiner(folder, self.objects).examine([self.location]), None)
        if one is None or one.problem is not None:
            raise InputError(f"{self.label} was never started." if one is None else str(one.problem))
        left = [difference for difference in one.differences if not covers(accept, difference.what)]
        if left:
            said, words = "; ".join(each.said for each in left), ", ".join(repr(each.what) for each in left)
            raise InputError(f"{self.label}: {said}. Where that changes no result, accept it: run.migrate({words}).")
        moved = migrate([one], accept, runs=folder)
        return Run(moved.get(self.folder, self.location), self.objects)

    def tokenizer(self) -> Tokenizer:
        """Return what made tokens of the text that the run was trained on: `encode(text)`, `decode(tokens)`, `size`.

        Raises InputError where there was no text, or a tokenizer of your own.
        """
        facts: dict[str, Any] = self.record.get("data") or {}
        encoding: dict[str, Any] = facts.get("encoding") or {}
        if encoding.get("kind") != "text":
            raise InputError(f"{self.label} was not trained on text: it has no tokenizer.")
        return recorded(encoding)

    def predict(self, inputs: Any, *, device: str = "auto", weights: str | None = None) -> Predictions:
        """Return predictions for files (a path, or several) or for an array [N, *input_shape] as in the dataset.

        Files are what the run was trained on: pictures, CSV or Parquet, or .npy. `predicted` has the names of classes,
        `probabilities` [N, K] and `outputs` [N, ...] the numbers. `weights` as in `model`.
        """
        return predict(self.location, inputs, self.objects, device=device, weights=weights)

    def sample(
        self,
        prompt: str = "",
        *,
        tokens: int = 500,
        temperature: float = 0.8,
        top: int | None = None,
        seed: int = 0,
        tokenizer: Any = None,
        device: str = "auto",
        weights: str | None = None,
    ) -> str:
        """Return how a run that was trained on text goes on with a prompt, `tokens` of them.

        A token is drawn from the outputs divided by `temperature` (0: the likeliest is taken), among the `top`
        likeliest where that is given. The same seed gives the same text. A tokenizer of your own is passed again.
        `weights` as in `model`.
        """
        if not isinstance(cast("object", prompt), str):
            raise InputError(f"prompt = {prompt!r}: expected a text.")
        chosen = Sampling(tokens=tokens, temperature=temperature, top=top, seed=seed)
        run, objects = self.location, self.objects
        pieces = sample(run, prompt, chosen, objects=objects, tokenizer=tokenizer, device=device, weights=weights)
        return "".join(pieces)
