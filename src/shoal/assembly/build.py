"""From a recipe to what a training is made of: data, model, task, optimizer, batches, engine.

Everything that can be wrong with a recipe is found here, before a folder is made or a step is done.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from torch.utils.data import Dataset

from shoal import datasets, models, optim
from shoal.assembly import trial
from shoal.assembly.decisions import Decision, accumulate, lr_factor
from shoal.assembly.devices import choose
from shoal.assembly.idle import refuse_idle
from shoal.assembly.layout import is_channels_last, laid_out, pixel_by_pixel
from shoal.assembly.left_out import LeftOut
from shoal.assembly.network import build_model
from shoal.assembly.objects import Objects
from shoal.assembly.purpose import build_task, evaluation_batch
from shoal.assembly.registry import OWN
from shoal.assembly.source import classes_of, digest
from shoal.assembly.start import Start, check_tokens, start, tokens_of
from shoal.assembly.stepping import Step, Stepping, calibrating
from shoal.augment import Augment, check_mixing
from shoal.augment import check as check_augment
from shoal.datasets import Batches, Data, Examples, Stream, StreamBatches
from shoal.errors import RecipeError, nearest
from shoal.recipe import Recipe, canonical, signature
from shoal.recipe.parts import DatasetPart, skips_broken
from shoal.recipe.scaling import Change, scaled
from shoal.recipe.schedule_parts import Constant
from shoal.recipe.tables import TABLES
from shoal.tasks import Task, training_loss
from shoal.training import Agenda, BestWeights, Callback, EarlyStop, Evaluation, Plan, ScheduledHypers, SoloEngine
from shoal.training.columns import Columns
from shoal.training.hypers import scheduled
from shoal.training.objective import Mixing, Objective
from shoal.training.plateau import Plateau, plateaus
from shoal.training.precision import check_precision
from shoal.training.seams import AVERAGED
from shoal.training.solo import Averaging


def size_of(recipe: Recipe) -> int:
    """Return the examples in a step of a recipe that says how many."""
    return cast(int, recipe.batch_size)


def _refuse_with_lbfgs(recipe: Recipe) -> None:
    """L-BFGS evaluates the loss several times a step, so nothing can come between a gradient and its use."""
    regularise = recipe.regularise
    had = {
        "regularise.sam": regularise.sam > 0,
        "regularise.clip_norm": regularise.clip_norm is not None,
        "regularise.clip_value": regularise.clip_value is not None,
        "regularise.clip_percentile": regularise.clip_percentile is not None,
        "precision=fp16": recipe.precision == "fp16",
    }
    for key, given in had.items():
        if given:
            raise RecipeError(
                f"optimizer.name = lbfgs: it evaluates the loss itself, so {key} has no place in its "
                "step. Leave it out."
            )


@dataclass(frozen=True)
class Workshop:
    """What a recipe, and objects passed from Python, turn into; each piece is made once, when it is first needed."""

    recipe: Recipe
    objects: Objects = Objects()
    runs: Path = Path("runs")
    began: float = field(default_factory=time.monotonic)
    """When work on it began: what passes until the first step is start-up."""
    decisions: list[Decision] = field(default_factory=list[Decision])
    """What was decided when this run went wrong before."""
    left_out: LeftOut = field(default_factory=LeftOut)
    """What could not be read of the data, where that is allowed."""

    @cached_property
    def effective(self) -> Recipe:
        """The recipe with what it leaves to be worked out: the size of a batch of all, values scaled to the batch."""
        recipe = self.recipe
        if recipe.batch_size == "all":
            size = self.data.sizes.get("train")
            if size is None:
                raise RecipeError(
                    "batch_size = all: how many examples the stream has is not known. Give a number: batch_size=32."
                )
            recipe = recipe.model_copy(update={"batch_size": size})
        schedules = {
            name: TABLES["schedule"][curve](**given.model_dump(exclude={"name"}))  # its warm-up stays
            for name, curve in optim.default_schedules(recipe.optimizer).items()
            if isinstance(given := getattr(recipe.schedules, name), Constant)
        }
        recipe = recipe.model_copy(update={"schedules": recipe.schedules.model_copy(update=schedules)})
        return scaled(recipe, size_of(recipe))[0]

    @property
    def changes(self) -> list[Change]:
        """What `scale_from` changed, and why."""
        return scaled(self.recipe.model_copy(update={"batch_size": self.batch_size}), self.batch_size)[1]

    @property
    def batch_size(self) -> int:
        """Examples in a step."""
        return size_of(self.effective)

    @cached_property
    def device(self) -> torch.device:
        """Where the training runs."""
        return choose(self.recipe.device)

    @cached_property
    def data(self) -> Data:
        """The dataset, checked."""
        part = cast(DatasetPart, self.recipe.dataset)
        source = self.objects.dataset
        if source is None:
            tokens = tokens_of(self.recipe.init, runs=self.runs) if part.name == "text" else None
            return datasets.build(part, task=self.recipe.task.name, encoding=tokens)
        return datasets.from_objects(source, part)

    @cached_property
    def task(self) -> Task:
        """What is optimised and measured."""
        return build_task(self.recipe, self.data, self.objects, self.device)

    @cached_property
    def model(self) -> nn.Module:
        """The network with its initial weights, on the device: a function of the seed, or loaded."""
        return self._started[0]

    @property
    def start(self) -> Start:
        """What the weights started from."""
        return self._started[1]

    @property
    def channels_last(self) -> bool:
        """Whether convolutions lie in memory pixel by pixel."""
        return is_channels_last(self.model)

    @cached_property
    def _started(self) -> tuple[nn.Module, Start]:
        self._check_kind()
        check_tokens(self.recipe.init, self.data.encoding, runs=self.runs)
        try:
            built = build_model(self.recipe, self.objects, input_shape=self.data.input_shape, outputs=self.task.outputs)
            started = start(self.recipe.init, built, runs=self.runs)
            return laid_out(built.to(self.device), channels_last=self._pixel_by_pixel()), started
        except (MemoryError, RuntimeError) as error:  # torch's own say "allocate" or "out of memory"
            if isinstance(error, RuntimeError) and not re.search("allocat|out of memory", str(error)):
                raise
            reason = str(error).partition("\n")[0] or "out of memory"
            raise RecipeError(
                f"model.name = {self.recipe.model.name}: the model does not fit into the memory of {self.device} "
                f"({reason}). Make it smaller, for example by model.width or model.depth."
            ) from error

    def _pixel_by_pixel(self) -> bool:
        """Whether to lay the model out pixel by pixel; a user's own only where that is asked for: it may take views."""
        wanted, own = self.recipe.channels_last, ("model", self.recipe.model.name) in OWN
        if wanted == "auto" and (own or self.objects.model is not None):
            return False
        shape, threads = self.data.input_shape, torch.get_num_threads()
        return pixel_by_pixel(wanted, self.recipe.precision, shape, self.device, threads=threads)

    @cached_property
    def _of_optimizer(self) -> tuple[dict[str, float], bool]:
        """What schedules multiply, and whether the optimizer averages by itself; its slots are not kept."""
        recipe = self.effective
        optimizer = optim.build(recipe.optimizer, self.model, self.device)
        return {
            name: optim.base_value(optimizer, name, called=recipe.optimizer.name) for name in scheduled(recipe)
        }, optim.is_averaging(optimizer)

    @property
    def averages(self) -> bool:
        """Whether there will be averaged weights beside those that are trained."""
        return self.recipe.average.name != "none" or self._of_optimizer[1]

    @cached_property
    def agenda(self) -> Agenda:
        """When what is due."""
        return Agenda.of(self.recipe, self.batches.per_epoch)

    @cached_property
    def hypers(self) -> Columns:
        """Everything that changes from step to step; schedules are checked at every step of the training."""
        recipe, agenda = self.effective, self.agenda
        base, _ = self._of_optimizer
        return Columns(
            ScheduledHypers(
                recipe,
                base,
                agenda.total,
                per_epoch=agenda.per_epoch,
                controllers=self.controllers,
                lr_factor=partial(lr_factor, self.decisions),
            ),
            objective=self.objective,
            average=recipe.average,
            picture=self.data.input_shape[-2:] if len(self.data.input_shape) == 3 else (1, 1),
            seed=recipe.seed,
            per_epoch=agenda.per_epoch,
            by_epochs=recipe.budget.epochs is not None,
        )

    @cached_property
    def controllers(self) -> dict[str, Plateau]:
        """What lowers hyperparameters on a plateau, by hyperparameter."""
        return plateaus(self.effective, self._higher)

    @cached_property
    def batches(self) -> Batches:
        """The training batches."""
        train = cast(Any, self.data.splits["train"])
        if isinstance(train, Stream):
            return self._stream(train)
        if self.batch_size > len(train):
            raise RecipeError(
                f"batch_size = {self.batch_size:,}: the train split has {len(train):,} examples, less than one "
                f"batch. Give a batch_size of at most {len(train):,}."
            )
        return self._batches("train", training=True)

    def evaluation(self, split: str) -> Evaluation | None:
        """Return the batches on which a split is evaluated; None where the dataset has no such split."""
        if split not in self.data.splits:
            return None
        return Evaluation(split, self._batches(split, training=False))

    def callbacks(self) -> list[Callback]:
        """What watches evaluations; raises RecipeError for a metric that is not measured."""
        recipe, watching = self.recipe, list[Callback]()
        if recipe.best.metric is not None:
            watching.append(BestWeights(recipe.best.metric, higher=self._higher("best.metric", recipe.best.metric)))
        if recipe.early_stop.patience is not None:
            higher = self._higher("early_stop.metric", recipe.early_stop.metric)
            watching.append(EarlyStop(recipe.early_stop.metric, higher=higher, patience=recipe.early_stop.patience))
        watching.extend(self.controllers.values())
        if isinstance(self.batches, StreamBatches):  # which pass of the stream it is has to be saved
            watching.append(self.batches.bookmark)
        return watching

    @cached_property
    def objective(self) -> Objective:
        """From a batch to the losses that are minimised."""
        recipe, regularise = self.recipe, self.recipe.regularise
        augmentation = Augment.of(regularise)
        if augmentation is not None:
            check_augment(augmentation, self.data.input_shape)
        train = self.data.splits["train"]
        check_mixing(
            regularise,
            dataset=recipe.dataset.name,
            input_shape=self.data.input_shape,
            tokens=isinstance(train, Examples) and train.tokens,
        )
        check_precision(recipe.precision, self.device)
        mixing = Mixing(regularise.mixup, regularise.cutmix)
        return Objective(
            self.task,
            training_loss(self.task, regularise.label_smoothing),
            self.device,
            precision=recipe.precision,
            augment=augmentation,
            mixing=mixing if mixing.mixup or mixing.cutmix else None,
        )

    @property
    def stepping(self) -> Stepping:
        """What the steps are made of."""
        recipe, parts = self.effective, accumulate(self.decisions, self.recipe.accumulate)
        recipe = recipe.model_copy(update={"accumulate": parts})
        return Stepping(recipe, self.model, self.objective, self.hypers, self.batches, self.agenda.total)

    def engine(self, plan: Plan, step: Step) -> SoloEngine:
        """Return the engine that performs the steps under a plan."""
        averaging = None
        if self.averages:
            needed = self.recipe.average.name != "ema" and optim.has_batch_norm(self.model)
            averaging = Averaging(self.recipe.average.name, calibrating(self.batches) if needed else tuple)
        return SoloEngine(step, self.task, seed=self.recipe.seed, plan=plan, averaging=averaging)

    def check(self) -> None:
        """Make every piece, so that whatever is wrong with the recipe is said now."""
        _ = self.device, self.data, self.batches, self.task, self.model, self.agenda, self.hypers, self.objective
        self._check_steps()
        self.callbacks()
        if self._has_code_of_the_users():
            skips = skips_broken(self.recipe.dataset)
            batch = trial.first_batch(self.data, self.batch_size, skips=skips)
            trial.attempt(self.model, self.task, batch, device=self.device, precision=self.recipe.precision)

    @cached_property
    def digests(self) -> dict[str, str]:
        """What the data and the user's code are: part of identity."""
        found = {"dataset": self.data.digest}
        if self.start.digest is not None:
            found["init"] = self.start.digest
        if self.start.frozen is not None:
            found["frozen"] = self.start.frozen
        for kind, part in (
            ("model", self.recipe.model),
            ("task", self.recipe.task),
            ("optimizer", self.recipe.optimizer),
        ):
            own = OWN.get((kind, part.name))
            factory = self.objects.model if kind == "model" and self.objects.model is not None else own and own.factory
            if factory is not None:
                found[kind] = digest([factory, *(classes_of(self.model) if kind == "model" else [])])
        if self.objects.loss is not None:
            found["loss"] = digest([self.objects.loss])
        return found

    @cached_property
    def signature(self) -> str:
        """The 32 hex digits that identify the experiment."""
        return signature(self.effective, self.digests)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What the signature is made of, as recorded with the run."""
        return canonical(self.effective, self.digests)

    def _check_kind(self) -> None:
        """Raise RecipeError where a shipped model reads tokens and there are none, or the other way round."""
        train, name = self.data.splits["train"], self.recipe.model.name
        tokens = isinstance(train, Examples) and train.tokens
        if name in models.BUILDERS and ("model", name) not in OWN and tokens != (name in models.OF_TOKENS):
            there = "blocks of tokens" if tokens else "no tokens"
            fitting = ", ".join(sorted(models.OF_TOKENS if tokens else set(models.BUILDERS) - models.OF_TOKENS))
            raise RecipeError(
                f"model.name = {name}: the examples of dataset.name = {self.recipe.dataset.name} are {there}. "
                f"Choose another dataset, or a model that reads them: {fitting}."
            )

    def _has_code_of_the_users(self) -> bool:
        own = ("model", self.recipe.model.name) in OWN or ("task", self.recipe.task.name) in OWN
        return own or self.objects.model is not None or self.objects.loss is not None

    def _stream(self, train: Stream) -> Batches:
        """The training batches of a stream, whose first one is read to see that there is one."""
        if train.length is None and self.recipe.budget.steps is None:
            raise RecipeError(
                f"budget.epochs = {self.recipe.budget.epochs:g}: {train.name} has no length, so how many steps are "
                "an epoch is not known. Give the budget in steps, as in budget.steps=1000; or give the stream a "
                "__len__, the number of its examples."
            )
        made = self._batches("train", training=True)
        assert isinstance(made, StreamBatches)
        made.try_out()
        return made

    def _batches(self, split: str, *, training: bool) -> Batches:
        part = cast(DatasetPart, self.recipe.dataset)
        source: Examples | Dataset[Any] | Stream = self.data.splits[split]
        return datasets.batches(
            source,
            batch_size=self.batch_size if training else evaluation_batch(self.recipe.batch_size, self.data),
            seed=self.recipe.seed,
            drop_last=part.drop_last,
            device=self.device,
            normalisation=self.data.normalisation,
            workers=part.workers,
            training=training,
            pad=False,  # eager execution needs no static shapes, and a user's loss may be one number a batch
            steps=self.recipe.budget.steps,
            timeout=part.worker_timeout,
            left_out=self.left_out.of(split) if skips_broken(part) else None,
            classes=self.data.classes,
        )

    def _check_steps(self) -> None:
        """Raise RecipeError for steps that cannot be made as the recipe says."""
        recipe, size = self.recipe, self.batch_size
        part = cast(DatasetPart, recipe.dataset)
        if recipe.accumulate > 1 and (size % recipe.accumulate or not part.drop_last):
            fits = [d for d in range(2, size + 1) if size % d == 0] or [1]
            better = min(fits, key=lambda d: abs(d - recipe.accumulate))
            drops = "" if part.drop_last else ", and leave dataset.drop_last as it is"
            why = (
                f"does not divide batch_size = {size}"
                if size % recipe.accumulate
                else ("needs batches of one size, and with dataset.drop_last=false the last is smaller")
            )
            raise RecipeError(
                f"accumulate = {recipe.accumulate}: it {why}. Give a number that divides the batch, such as "
                f"accumulate={better}{drops}."
            )
        if recipe.optimizer.name == "lbfgs":
            _refuse_with_lbfgs(recipe)
        if recipe.average.name != "none" and self._of_optimizer[1]:
            raise RecipeError(
                f"average.name = {recipe.average.name}: optimizer.name = {recipe.optimizer.name} averages the weights "
                "itself, and its average is what is measured and kept: a second one would never be seen. Leave out "
                "average, or choose another optimizer."
            )
        refuse_idle(self.effective, self.agenda)

    def _higher(self, path: str, metric: str) -> bool:
        measured = {"valid.loss": False}
        measured |= {f"valid.{name}": known.higher_is_better for name, known in self.task.metrics.items()}
        if self.averages:
            measured |= {name.replace("valid.", f"valid{AVERAGED}."): higher for name, higher in measured.items()}
        if "valid" not in self.data.splits:
            raise RecipeError(
                f"{path} = {metric!r}: there is no valid split to measure it on. Leave out dataset.valid=0."
            )
        if metric not in measured:
            close = nearest(metric, measured)
            hint = f"did you mean {close!r}? " if close else ""
            raise RecipeError(
                f"{path} = {metric!r}: no such metric is measured: {hint}There are: {', '.join(measured)}."
            )
        return measured[metric]
