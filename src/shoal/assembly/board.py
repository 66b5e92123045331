"""What TensorBoard shows of a run beside its history: the final metrics, the model's graph, pictures, a projection.

Each is written once, of the weights that count; what makes no sense for a run is left out with a sentence. Building the
model draws random numbers: the caller keeps the random state.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, cast

from torch import nn

from shoal.assembly import projection
from shoal.assembly.build import Workshop
from shoal.assembly.event_file import EventFile, Summary, conclude, rewrite
from shoal.assembly.graph import graph_of
from shoal.assembly.objects import Objects
from shoal.assembly.pictures import are_pictures, png, sheet, shown
from shoal.assembly.testing import with_path
from shoal.assembly.trained import blank_inputs, recipe_of, trained_model
from shoal.datasets import Batch
from shoal.errors import ExportError, ShoalError
from shoal.pages.board_files import PROJECTOR, PROJECTOR_CONFIG
from shoal.recipe import flat
from shoal.recipe.flat import hyperparameters
from shoal.store import RunFolder, record

PICTURES, SIDE = 64, 128
"""Pictures of the first batch that are shown, and pixels of a side of each, at most."""

Say = Callable[[str], None]


def write_board(target: Path, folder: RunFolder, objects: Objects, say: Say) -> None:
    """Write the whole board of a run into a folder, however the run was trained; what was ours there is replaced.

    Raises StoreError for a run that was never started, and OSError where the disk refuses.
    """
    values = _values(folder)
    remove(target)
    with closing(rewrite(target, folder, values)) as events:
        if record.read(folder).get("program"):  # it has no model that could be built
            conclude(events, folder)
        else:
            complete(events, folder, _workshop(folder, objects, say), objects, say)


def _values(folder: RunFolder) -> dict[str, Any]:
    """The hyperparameters of a run, under dotted keys: of a recipe, or of a program's config."""
    if not record.read(folder).get("program"):
        return hyperparameters(recipe_of(folder))
    return {key: value for key, value in flat.read(folder.recipe).items() if key != "name"}


def complete(events: EventFile, folder: RunFolder, workshop: Workshop | None, objects: Objects, say: Say) -> None:
    """Write the rest of a run's board behind its history; without a workshop there are no examples to show."""
    step = conclude(events, folder)
    model = _graph(events, folder, objects, say)
    if workshop is not None:
        _pictures(events, workshop, step, say)
        if model is not None:
            _projection(events.folder, workshop, model, say)
    events.flush()


def remove(target: Path) -> None:
    """Take away the parts of an older board that a new one may not have; its event files go once there is a new one."""
    (target / PROJECTOR_CONFIG).unlink(missing_ok=True)
    if (target / PROJECTOR).is_dir():
        shutil.rmtree(target / PROJECTOR)


def _workshop(folder: RunFolder, objects: Objects, say: Say) -> Workshop | None:
    """What a run was made of, from its folder; None, with a sentence, where its data are not there any more."""
    known: dict[str, Any] = record.read(folder).get("data") or {}
    try:
        recipe = with_path(recipe_of(folder), known.get("path"))
        workshop = Workshop(recipe.model_copy(update={"device": "auto"}), objects)
        digest = workshop.data.digest
    except ShoalError as error:
        say(f"no pictures and no projection: {error}")
        return None
    if digest != known.get("digest"):
        say(f"no pictures and no projection: the data are not those that {folder.label} was trained on.")
        return None
    return workshop


def _graph(events: EventFile, folder: RunFolder, objects: Objects, say: Say) -> nn.Module | None:
    """Write the graph; return the model with its trained weights, which takes normalised inputs, on the CPU."""
    try:
        model = trained_model(folder, objects, normalised=False)
    except ShoalError as error:
        say(f"no graph and no projection: {error}")
        return None
    try:
        events.graph(graph_of(model, blank_inputs(folder)))
    except ExportError as error:
        say(f"no graph: {error}")
    return model


def _pictures(events: EventFile, workshop: Workshop, step: int, say: Say) -> None:
    """Write the first batch of train, as training sees it but for the normalisation."""
    data = workshop.data
    if not are_pictures(data.input_shape):
        say(f"no sheet of pictures: inputs of shape {list(data.input_shape)} are none; [1, H, W] and [3, H, W] are.")
        return
    try:
        with closing(cast("Generator[Batch]", workshop.batches.start())) as stream:
            batch = next(stream)
    except ShoalError as error:
        say(f"no sheet of pictures: {error}")
        return
    whole = sheet(shown(batch.inputs[:PICTURES], data.normalisation, largest=SIDE), gap=1)
    C, H, W = whole.shape
    image = Summary.Image(height=H, width=W, colorspace=C, encoded_image_string=png(whole))
    events.summary([Summary.Value(tag="first batch/train", image=image)], step=step)


def _projection(target: Path, workshop: Workshop, model: nn.Module, say: Say) -> None:
    """Write what the last hidden layer makes of valid examples, or of train where there is no valid split."""
    if workshop.data.classes is not None and workshop.data.target_shape:
        say("no projection: an example has a label at each of its places, not one of its own.")
        return
    try:
        evaluation = workshop.evaluation("valid") or workshop.evaluation("train")
        assert evaluation is not None
        found = projection.project(model.to(workshop.device), evaluation.batches)
    except ShoalError as error:
        say(f"no projection: {error}")
        return
    if isinstance(found, str):
        say(f"no projection: {found}.")
    else:
        projection.write(found, target, workshop.data)
