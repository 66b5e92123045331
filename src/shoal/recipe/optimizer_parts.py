"""The parameters of every shipped optimizer; their builders and rules live in `optim`."""

from __future__ import annotations

from functools import partial
from typing import Literal

from shoal.recipe.fields import ALWAYS, Flag, Float, Names, Part, setting
from shoal.recipe.tables import entry

optimizer = partial(entry, "optimizer")


class OptimizerPart(Part):
    """What every optimizer has."""

    lr: Float = setting(0.1, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    weight_decay: Float = setting(0.0, "weight decay", identity=0.0, ge=0, stackable=True)
    decay_biases_and_norms: Flag = setting(
        False, "apply weight decay to biases and normalisation parameters too", identity=False
    )
    lr_multipliers: Names = setting(
        (), "'PATTERN=FACTOR': parameters whose learning rate is multiplied; the last that fits counts", identity=()
    )
    decay_multipliers: Names = setting(
        (), "'PATTERN=FACTOR': parameters whose weight decay is multiplied; the last that fits counts", identity=()
    )


@optimizer
class Sgd(OptimizerPart):
    """Stochastic gradient descent with momentum; weight decay is added to the gradient."""

    name: Literal["sgd"] = "sgd"
    momentum: Float = setting(0.9, "momentum", identity=0.9, ge=0, lt=1, stackable=True)
    nesterov: Flag = setting(False, "Nesterov's momentum", identity=False)


@optimizer
class Adamw(OptimizerPart):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    lr: Float = setting(1e-3, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    weight_decay: Float = setting(0.01, "decoupled weight decay", identity=0.01, ge=0, stackable=True)
    beta1: Float = setting(0.9, "decay of the mean of gradients", identity=0.9, ge=0, lt=1, stackable=True)
    beta2: Float = setting(0.999, "decay of the mean of squared gradients", identity=0.999, ge=0, lt=1, stackable=True)
    eps: Float = setting(1e-8, "added to the denominator", identity=1e-8, gt=0, stackable=True)
