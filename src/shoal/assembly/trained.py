"""A trained run's network, from its folder: the recipe, the recorded shapes, and its weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.assembly.network import build_model
from shoal.assembly.objects import Objects
from shoal.assembly.program import refuse_program
from shoal.assembly.weights import kept
from shoal.datasets import Normalisation
from shoal.errors import RecipeError, StoreError
from shoal.recipe import Recipe, from_yaml, parse, signature
from shoal.recipe.changed import changes
from shoal.recipe.fields import Part
from shoal.store import RunFolder, record


def recipe_of(folder: RunFolder) -> Recipe:
    """Return the recipe that a run was trained with.

    Raises StoreError where recipe.yaml is another, or none, and where a program of the user's trained the run.
    """
    refuse_program(folder)
    recorded = record.recipe(record.read(folder))
    try:
        recipe = from_yaml(folder.recipe.read_bytes())
        if recorded is None or _means(recipe) == _means(parse(recorded)):
            return recipe
        said = changes(folder.recipe, recorded)
    except FileNotFoundError as error:
        back = "it was removed. The shoal train that made the run writes it again"
        why = "it is not the folder of a run that was started" if recorded is None else back
        raise StoreError(f"{folder.path} has no recipe.yaml: {why}.") from error
    except RecipeError as error:
        raise StoreError(
            f"{folder.recipe}: {error}\nIf the run has entries of your own, name their module: --module NAME. If the "
            "file was edited, the shoal train that made the run puts it back."
        ) from error
    raise StoreError(
        f"{folder.recipe} was changed since the run was made: {said}. The weights belong to the recipe that "
        "they were trained with: the shoal train that made the run puts it back and keeps yours beside it. A changed "
        "recipe is another run: train it by its keys, shoal train ... KEY=VALUE."
    )


def _means(recipe: Recipe) -> tuple[str, int]:
    """What of a recipe may change a result: a name, a path or what is logged may not."""
    return signature(recipe), recipe.seed


def normalisation_of(folder: RunFolder) -> Normalisation | None:
    """Return the constants that a run's inputs were normalised with."""
    plain = record.read(folder).get("data", {}).get("normalisation")
    return Normalisation.from_plain(plain) if plain else None


def trained_model(
    folder: RunFolder, objects: Objects = Objects(), *, normalised: bool = True, weights: str | None = None
) -> nn.Module:
    """Return a run's network in eval mode, on the CPU, with its trained weights: those that count, or those asked for.

    With `normalised` it takes inputs as they are in the dataset, and normalises them as in training first.
    Raises StoreError where the model was passed from Python and is not passed again, InputError for weights (raw,
    average, best) that the run does not have.
    """
    model = network(folder, objects)
    kept(folder).put_into(model, weights)
    constants = normalisation_of(folder)
    if normalised and constants is not None:
        model.register_forward_pre_hook(_normalising(constants))
    return model.eval()


def network(folder: RunFolder, objects: Objects = Objects()) -> nn.Module:
    """Return a run's network with initial weights, on the CPU; raises StoreError where it cannot be built."""
    recipe, facts = recipe_of(folder), record.read(folder).get("data")
    if recipe.model.name == "external" and objects.model is None:
        source = getattr(recipe.model, "source", "")
        raise StoreError(
            f"the model of {folder.label} was passed from Python ({source}), and nothing is imported because a file "
            f"says so: pass it again, as in shoal.load({str(folder.path)!r}, model={_last_name(recipe.model)})."
        )
    if not facts:
        raise StoreError(f"{folder.label} was never started: its record has no shapes to build the model with.")
    return build_model(recipe, objects, input_shape=tuple(facts["input_shape"]), outputs=int(facts["outputs"]))


def blank_inputs(folder: RunFolder, count: int = 2) -> torch.Tensor:
    """Return inputs of a run's shape and type, all zero: int64 tokens, or float32."""
    facts: dict[str, Any] = record.read(folder)["data"]
    encoding: dict[str, Any] = facts.get("encoding") or {}
    tokens = encoding.get("kind") == "text"
    return torch.zeros(count, *facts["input_shape"], dtype=torch.int64 if tokens else torch.float32)


def _normalising(constants: Normalisation) -> Any:
    def hook(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        inputs, *rest = arguments
        return (constants.apply(torch.as_tensor(inputs)), *rest)

    return hook


def _last_name(part: Part) -> str:
    return str(getattr(part, "source", "factory")).rpartition(".")[2]
