"""The recipe: the complete, typed, frozen description of one training.

What is not in here is not a property of the training. Each field carries its meaning, unit, bounds, identity value
and whether it stacks (`fields.setting`); the parameters of named parts are in `parts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import SerializeAsAny, create_model, model_validator

from shoal.recipe import yaml_text
from shoal.recipe.average_parts import NoAverage
from shoal.recipe.fields import ALWAYS, NEVER, BatchSize, Flag, Float, Int, Names, Part, Settings, Text, setting
from shoal.recipe.optimizer_parts import OptimizerPart, Sgd
from shoal.recipe.parts import Classification, Convnet, Digits
from shoal.recipe.schedule_parts import Constant, SchedulePart

DEFAULT_EPOCHS = 10.0


class Schedules(Settings):
    """How scheduled hyperparameters change over the steps; each multiplies the optimizer's base value."""

    lr: SerializeAsAny[SchedulePart] = setting(Constant(), "learning rate", identity={"name": "constant"})
    momentum: SerializeAsAny[SchedulePart] = setting(
        Constant(), "momentum, or beta1 of the Adam family", identity={"name": "constant"}
    )
    weight_decay: SerializeAsAny[SchedulePart] = setting(Constant(), "weight decay", identity={"name": "constant"})


class Regularise(Settings):
    """What is done against over-fitting, beside weight decay and dropout; pictures are changed by batches."""

    label_smoothing: Float = setting(
        0.0,
        "share of a label that is spread evenly over all classes (arXiv 1512.00567)",
        identity=0.0,
        ge=0,
        lt=1,
        stackable=True,
    )
    mixup: Float = setting(
        0.0,
        "alpha of mixup: pairs are mixed by a share drawn from Beta(alpha, alpha) (arXiv 1710.09412); 0 is off",
        identity=0.0,
        ge=0,
        stackable=True,
    )
    cutmix: Float = setting(
        0.0,
        "alpha of CutMix: a box of one picture is pasted into another (arXiv 1905.04899); 0 is off; with mixup, "
        "each step is one of the two",
        identity=0.0,
        ge=0,
        stackable=True,
    )
    flip: Flag = setting(False, "mirror pictures left to right, each with probability 1/2", identity=False)
    translate: Int = setting(
        0,
        "shift pictures by up to so many pixels both ways, filled with zeros: the random crop of padded pictures",
        identity=0,
        ge=0,
        unit="pixels",
    )
    crop: Float | None = setting(
        None,
        "least share of a picture's area that is cut out and resized to the whole; null is off",
        identity=None,
        gt=0,
        lt=1,
    )
    cutout: Int = setting(
        0,
        "side of a square that is set to zero at a random place (arXiv 1708.04552); 0 is off",
        identity=0,
        ge=0,
        unit="pixels",
    )
    clip_norm: Float | None = setting(
        None,
        "largest norm of the gradient, all parameters together; a larger one is scaled down",
        identity=None,
        gt=0,
        stackable=True,
    )
    clip_value: Float | None = setting(
        None, "largest absolute value of each number in the gradient", identity=None, gt=0, stackable=True
    )
    clip_percentile: Float | None = setting(
        None,
        "clip the norm at this percentile of the last 100 norms (AutoClip, arXiv 2007.14469)",
        identity=None,
        gt=0,
        lt=100,
        stackable=True,
    )
    weight_norm: Flag = setting(
        False, "learn length and direction of weight matrices apart (arXiv 1602.07868)", identity=False
    )
    spectral_norm: Flag = setting(
        False, "divide weight matrices by their largest singular value (arXiv 1802.05957)", identity=False
    )
    sam: Float = setting(
        0.0,
        "rho of sharpness-aware minimisation (arXiv 2010.01412), which takes two gradients a step; 0 is off",
        identity=0.0,
        ge=0,
        stackable=True,
    )


class ScaleFrom(Settings):
    """Values that were chosen for one batch size, rescaled for the recipe's by the published rules."""

    batch_size: Int | None = setting(
        None,
        "batch size for which learning rate, betas, eps, EMA and warm-up were chosen; null rescales nothing",
        identity=NEVER,
        ge=1,
        unit="examples",
    )


class _Init(Settings):
    """Which weights training starts from, and which of them stay as they are.

    What was loaded is part of identity by its content, and what is frozen by its names, so where weights lie and how
    they and the names were chosen are not.
    """

    include: Names = setting((), "patterns of the parameters to load; none loads all", identity=NEVER)
    exclude: Names = setting(
        (), "patterns of parameters that stay fresh, such as 'output.*' for a new head", identity=NEVER
    )
    rename: Names = setting(
        (), "'OLD=NEW': what a name in the file begins with, and what it begins with in the model", identity=NEVER
    )
    freeze: Names = setting(
        (),
        "patterns of parameters that are not trained; a norm that is frozen whole keeps its statistics",
        identity=NEVER,
    )

    @property
    def source(self) -> str | None:
        """The key `from`."""
        return cast("str | None", getattr(self, "from"))


if TYPE_CHECKING:
    Init = _Init
else:  # `from` is a word of Python's, so that no class body can declare it
    meaning = "weights to start from: a run, or a .safetensors file; null starts fresh"
    declared = {"from": (Text | None, setting(None, meaning, identity=NEVER))}
    Init = create_model("Init", __base__=_Init, __doc__=_Init.__doc__, **declared)


class Budget(Settings):
    """How long to train; giving one replaces the other."""

    epochs: Float | None = setting(
        None, "passes over train; 10 where neither is given", identity=None, gt=0, unit="epochs"
    )
    steps: Int | None = setting(None, "updates of the weights", identity=None, ge=1, unit="steps")

    @model_validator(mode="before")
    @classmethod
    def _one_of_two(cls, data: Any) -> Any:
        given = cast(dict[str, Any], data)
        if isinstance(data, dict) and given.get("epochs") is None and given.get("steps") is None:
            return {**given, "epochs": DEFAULT_EPOCHS}
        return given

    @model_validator(mode="after")
    def _not_both(self) -> Budget:
        if self.epochs is not None and self.steps is not None:
            raise ValueError("expected epochs or steps, not both; leave one of them out")
        return self


class Evaluate(Settings):
    """When the valid split is evaluated. Part of identity: early stop and best weights depend on it."""

    every: Float | None = setting(
        None, "interval in the unit of the budget (epochs or steps); null is once an epoch", identity=None, gt=0
    )


class Best(Settings):
    """Which weights are kept as the best."""

    metric: Text | None = setting(
        None, "metric of an evaluation, such as valid.accuracy; null keeps the last weights", identity=None
    )


class EarlyStop(Settings):
    """When to stop before the budget is spent."""

    metric: Text = setting("valid.loss", "metric that has to improve", identity="valid.loss")
    patience: Int | None = setting(
        None,
        "evaluations without improvement before stopping; null never stops",
        identity=None,
        ge=1,
        unit="evaluations",
    )


class Checkpoint(Settings):
    """When and what to save for resuming."""

    every: Float | None = setting(
        None,
        "interval in the unit of the budget (epochs or steps); null saves by the clock, at most 1 % of the time",
        identity=NEVER,
        gt=0,
    )
    keep: Int = setting(2, "newest checkpoints to keep", identity=NEVER, ge=2)


class Guard(Settings):
    """What is done when a training goes wrong: it is found on the device, before the update is made."""

    action: Literal["stop", "skip", "rewind"] = setting(
        "stop",
        "what a loss or gradient that is not finite leads to: the run fails, the update is left out, or training goes "
        "back to a checkpoint and on with a smaller learning rate",
        identity="stop",
    )
    spike: Float | None = setting(
        None,
        "a loss so many deviations above its recent mean is treated like one that is not finite; null: none is",
        identity=None,
        gt=0,
        unit="standard deviations",
    )
    limit: Int = setting(5, "updates left out in a row, or rewinds in all, before the run fails", identity=5, ge=1)
    rewind_every: Float | None = setting(
        None,
        "interval of the points that a rewind goes back to, in the unit of the budget; null is once an epoch",
        identity=None,
        gt=0,
    )
    rewind_lr: Float = setting(
        0.5, "what the learning rate is multiplied by from there on, at each rewind", identity=0.5, gt=0, le=1
    )
    memory: Literal["stop", "halve"] = setting(
        "stop",
        "what running out of memory leads to: the run fails, or goes on with the gradient computed in twice as many "
        "parts, which is the same to rounding",
        identity=NEVER,
    )


class Log(Settings):
    """What is written as training goes; never changes the result."""

    every: Int | None = setting(
        None,
        "interval of extra history rows with train metrics; null writes rows at evaluations only",
        identity=NEVER,
        ge=1,
        unit="steps",
    )
    tensorboard: Flag = setting(False, "also write event files that TensorBoard reads", identity=NEVER)
    wandb: Flag = setting(
        False, "also copy rows to Weights & Biases, in the mode that WANDB_MODE says (shoal[wandb])", identity=NEVER
    )
    wandb_project: Text | None = setting(
        None, "project of Weights & Biases; null leaves it to WANDB_PROJECT, or to W&B", identity=NEVER
    )


class Recipe(Settings):
    """One training: dataset, model, task, optimizer, schedules, budget, precision, seed."""

    name: Text = setting("run", "what people call it: a part of the folder's name", identity=NEVER)
    seed: Int = setting(0, "what initial weights, order and masks are functions of", identity=NEVER, ge=0, lt=2**63)
    batch_size: BatchSize = setting(
        32, "examples in a step; all is the whole of train", identity=ALWAYS, unit="examples"
    )
    accumulate: Int = setting(
        1,
        "equal parts in which the gradient of a step is computed, one after the other, to save memory",
        identity=1,
        ge=1,
    )
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = setting(
        "fp32",
        "arithmetic of the step: 16 bits for what bears it (autocast); tf32 for matrix products on a GPU",
        identity="fp32",
    )
    execution: Literal["auto", "eager", "captured", "compiled"] = setting(
        "auto",
        "how a step is executed: as Python runs it, recorded once and replayed, compiled, or what is measured fastest",
        identity=NEVER,
    )
    channels_last: Literal["auto", "yes", "no"] = setting(
        "auto", "whether pictures lie in memory channel by channel (no) or pixel by pixel (yes)", identity=NEVER
    )
    device: Text = setting("auto", "auto, cpu, cuda, cuda:N or mps", identity=NEVER)
    deterministic: Flag = setting(False, "only algorithms that give the same bits each time", identity=NEVER)
    dataset: SerializeAsAny[Part] = setting(Digits(), "where examples come from", identity=ALWAYS)
    model: SerializeAsAny[Part] = setting(Convnet(), "the network", identity=ALWAYS)
    task: SerializeAsAny[Part] = setting(Classification(), "what is optimised and measured", identity=ALWAYS)
    init: Init = setting(Init(), "which weights training starts from", identity={})
    optimizer: SerializeAsAny[OptimizerPart] = setting(Sgd(), "what updates the weights", identity=ALWAYS)
    schedules: Schedules = setting(Schedules(), "how hyperparameters change", identity={})
    regularise: Regularise = setting(Regularise(), "what is done against over-fitting", identity={})
    average: SerializeAsAny[Part] = setting(
        NoAverage(), "which average of the weights is kept", identity={"name": "none"}
    )
    scale_from: ScaleFrom = setting(ScaleFrom(), "the batch size that the other values were chosen for", identity=NEVER)
    budget: Budget = setting(Budget(), "how long", identity={})
    evaluate: Evaluate = setting(Evaluate(), "when to evaluate", identity={})
    best: Best = setting(Best(), "which weights to keep", identity={})
    early_stop: EarlyStop = setting(EarlyStop(), "when to stop early", identity={})
    checkpoint: Checkpoint = setting(Checkpoint(), "when to save", identity=NEVER)
    guard: Guard = setting(Guard(), "what is done when training goes wrong", identity={})
    log: Log = setting(Log(), "what to write", identity=NEVER)

    @model_validator(mode="after")
    def _once_an_epoch(self) -> Recipe:
        """`evaluate.every=1` under a budget of epochs is what null means: one meaning, one value."""
        if self.budget.epochs is not None and self.evaluate.every == 1:
            object.__setattr__(self, "evaluate", Evaluate())
        return self

    def mapping(self) -> dict[str, Any]:
        """Return the full recipe as plain nested data, defaults included."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """Return the full recipe as YAML; `parse.from_yaml` reads it back to an equal recipe."""
        return yaml_text.dump(self.mapping())
