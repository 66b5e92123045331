"""The table of builders, one for each task that a recipe can name, and how a user's own are added to it.

The class of an entry's parameters is in `recipe.tables`, under the same name.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature

from torch import Tensor

from shoal.errors import RecipeError
from shoal.recipe import parts
from shoal.recipe.fields import Part
from shoal.recipe.own import declare
from shoal.tasks import classification, language_modelling, regression
from shoal.tasks import multilabel as several
from shoal.tasks.custom import with_loss
from shoal.tasks.targets import Targets
from shoal.tasks.task import Task

SUPPLIED = ("classes", "target_shape", "class_counts", "device")
"""What Shoal fills in where a factory has parameters of these names."""

Builder = Callable[[Part, Targets], Task]

BUILDERS: dict[str, Builder] = {
    "classification": classification.build,
    "regression": regression.build,
    "language_modelling": language_modelling.build,
    "multilabel": several.build,
}


def build(part: Part, targets: Targets) -> Task:
    """Build the task of a recipe; raises RecipeError where it cannot have such targets."""
    if part.name not in BUILDERS:
        raise RecipeError(
            f"task.name = {part.name}: such a task is a loss function that was passed from Python. Pass it again, "
            "as in loss=function, or register a factory for it with --module MODULE."
        )
    return BUILDERS[part.name](part, targets)


def usual(targets: Targets) -> Task:
    """Return the task that such targets usually have: of labels classification, of blocks of tokens the next token."""
    if targets.multilabel:
        return several.build(parts.Multilabel(), targets)
    if targets.classes is None:
        return regression.build(parts.Regression(), targets)
    if targets.target_shape:
        return language_modelling.build(parts.LanguageModelling(), targets)
    return classification.build(parts.Classification(), targets)


def register(name: str, factory: Callable[..., Task | Callable[[Tensor, Tensor], Tensor]]) -> None:
    """Add a user's factory to the table under `name`; it returns a Task, or a loss function of (outputs, targets).

    It is called with those of `SUPPLIED` that are among its parameters; the others become keys of the recipe. A loss
    function takes the place of the usual task's. Raises RecipeError for a name that is taken and for a parameter that
    cannot become a key.
    """
    cls = declare("task", name, factory, supplied=SUPPLIED)
    wanted = signature(factory).parameters
    keys = [key for key in wanted if key in cls.model_fields]

    def builder(part: Part, targets: Targets) -> Task:
        facts = {key: getattr(targets, key) for key in SUPPLIED}
        given = {key: fact for key, fact in facts.items() if key in wanted}
        made: object = factory(**given, **{key: getattr(part, key) for key in keys})
        if isinstance(made, Task):
            return made
        if not callable(made):
            raise RecipeError(
                f"task.name = {name}: its factory returned {type(made).__name__}: expected a shoal Task, or a loss "
                "function of (outputs, targets). Return one of them; do not call the loss function."
            )
        return with_loss(usual(targets), made)

    BUILDERS[name] = builder
