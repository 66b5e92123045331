"""What a trained run says of inputs: a class with its probability, the labels of an example, or values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor

from shoal.assembly.devices import choose
from shoal.assembly.objects import Objects
from shoal.assembly.raw_inputs import read_inputs
from shoal.assembly.trained import recipe_of, trained_model
from shoal.errors import InputError
from shoal.store import RunFolder, record

BATCH = 1000
"""Inputs at once."""

Kind = Literal["class", "labels", "values"]


@dataclass(frozen=True)
class Predictions:
    """Predictions for N inputs, in their order.

    inputs: what each is called; outputs: what the network returned, [N, ...] in float32 on the CPU; kind: whether they
    say one of several classes, which labels an example has, or values; names: of the classes, the labels or the values;
    notes: sentences on inputs that training knew nothing of, such as a new category.
    """

    inputs: tuple[str, ...]
    outputs: Tensor
    kind: Kind
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.outputs)

    @property
    def probabilities(self) -> Tensor:
        """Of each class or each label, [N, K]; raises InputError for values, which have none."""
        if self.kind == "values":
            raise InputError("the run predicts values, which have no probabilities: see outputs.")
        return self.outputs.softmax(1) if self.kind == "class" else self.outputs.sigmoid()

    @property
    def predicted(self) -> list[Any]:
        """For each input the name of its class, the names of its labels, or its values."""
        if self.kind == "values":
            single = self.outputs.ndim == 2 and self.outputs.shape[1] == 1
            return cast("list[Any]", (self.outputs[:, 0] if single else self.outputs).tolist())
        if self.kind == "class":
            return [self.names[place] for place in cast("list[int]", self.outputs.argmax(1).tolist())]
        return [[self.names[at] for at in self._of(row)] for row in self.outputs > 0]

    def rows(self, *, top: int = 3) -> list[dict[str, Any]]:
        """Return a mapping an input, as `--json` prints them; `top` is how many classes are told with probabilities."""
        told = [{"input": name, "predicted": found} for name, found in zip(self.inputs, self._named(), strict=True)]
        if self.kind != "values":
            for row, chances in zip(told, self.probabilities, strict=True):
                count = min(top, len(self.names)) if self.kind == "class" else len(self.names)
                likeliest = chances.topk(count)
                places = cast("list[int]", likeliest.indices.tolist())
                found = cast("list[float]", likeliest.values.tolist())
                row["probabilities"] = {self.names[at]: chance for at, chance in zip(places, found, strict=True)}
        return told

    def _named(self) -> list[Any]:
        """The predictions; several values under their names."""
        if self.kind != "values" or self.outputs.ndim != 2 or not 1 < len(self.names) == self.outputs.shape[1]:
            return self.predicted
        return [dict(zip(self.names, row, strict=True)) for row in self.predicted]

    @staticmethod
    def _of(flags: Tensor) -> list[int]:
        return cast("list[int]", flags.nonzero().flatten().tolist())


def predict(
    folder: RunFolder, source: Any, objects: Objects = Objects(), *, device: str = "auto", weights: str | None = None
) -> Predictions:
    """Return the predictions of a run's trained network for paths or an array of inputs.

    `weights` are raw, average or best; None takes those that count.

    Raises InputError for what is no input of this run, and for one that is not finite.
    """
    facts: Mapping[str, Any] = record.read(folder).get("data") or {}
    model = trained_model(folder, objects, weights=weights)  # says what is missing where the run never started
    if (facts.get("encoding") or {}).get("kind") == "text":
        raise InputError(f"{folder.label} was trained on text, which is sampled: run.sample(prompt).")
    given = read_inputs(source, facts)
    if given.values.is_floating_point():
        _refuse_non_finite(given.values, given.names)
    where = choose(device)
    model = model.to(where)
    with torch.inference_mode():
        batches = cast("Iterable[Tensor]", given.values.split(BATCH))
        pieces = [_outputs(model, batch.to(where)) for batch in batches]
    kind = _kind(recipe_of(folder).task.name, facts)
    outputs = torch.cat(pieces)
    return Predictions(given.names, outputs, kind, _names(facts, outputs), given.notes)


def _outputs(model: Any, inputs: Tensor) -> Tensor:
    """Of one batch; float64 is not on every device, and a model without normalisation takes float32."""
    return model(inputs.float()).float().cpu()


def _refuse_non_finite(values: Tensor, names: tuple[str, ...]) -> None:
    sound = values.flatten(1).isfinite().all(1)
    if not sound.all():
        first = int((~sound).nonzero()[0])
        raise InputError(
            f"{names[first]}: it holds NaN or infinity, and {int((~sound).sum()):,} of {len(values):,} inputs do: "
            "expected finite numbers."
        )


def _kind(task: str, facts: Mapping[str, Any]) -> Kind:
    if task == "multilabel" or (task == "external" and facts.get("multilabel")):
        return "labels"
    return "class" if facts.get("classes") is not None and not facts.get("target_shape") else "values"


def _names(facts: Mapping[str, Any], outputs: Tensor) -> tuple[str, ...]:
    encoding: Mapping[str, Any] = facts.get("encoding") or {}
    columns: list[Mapping[str, str]] = encoding["targets"]["columns"] if encoding.get("kind") == "table" else []
    found: list[str] = facts.get("labels") or [column["name"] for column in columns]
    return tuple(found) if found else tuple(map(str, range(outputs.shape[1] if outputs.ndim > 1 else 1)))
