"""The parameters of every shipped optimizer; their builders and rules live in `optim`.

Defaults are torch's, or the paper's where torch has no such class; where they are another's, the docstring says why.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

from pydantic import field_validator, model_validator

from shoal.recipe.fields import ALWAYS, Flag, Float, Int, Names, Part, setting
from shoal.recipe.tables import entry

optimizer = partial(entry, "optimizer")


def multipliers(texts: Sequence[str]) -> list[tuple[str, float]]:
    """Return the pairs of texts 'PATTERN=FACTOR'; raises ValueError with what was expected.

    >>> multipliers(["head.*=0.1"])
    [('head.*', 0.1)]
    """
    pairs: list[tuple[str, float]] = []
    for text in texts:
        pattern, _, factor = text.rpartition("=")
        try:
            value = float(factor)
        except ValueError:
            value = math.nan
        if not pattern.strip() or not math.isfinite(value) or value < 0:
            raise ValueError(
                f"expected 'PATTERN=FACTOR' with a factor of at least 0, such as 'head.*=0.1', not {text!r}"
            )
        pairs.append((pattern.strip(), value))
    return pairs


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

    @field_validator("lr_multipliers", "decay_multipliers")
    @classmethod
    def _well_formed(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        multipliers(texts)
        return texts


class AdamPart(OptimizerPart):
    """What Adam and its kin have."""

    lr: Float = setting(1e-3, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    beta1: Float = setting(0.9, "decay of the mean of gradients", identity=0.9, ge=0, lt=1, stackable=True)
    beta2: Float = setting(0.999, "decay of the mean of squared gradients", identity=0.999, ge=0, lt=1, stackable=True)
    eps: Float = setting(1e-8, "added to the denominator", identity=1e-8, gt=0, stackable=True)


@optimizer
class Sgd(OptimizerPart):
    """Stochastic gradient descent with momentum (Sutskever et al. 2013); weight decay is added to the gradient."""

    name: Literal["sgd"] = "sgd"
    momentum: Float = setting(0.9, "momentum", identity=0.9, ge=0, lt=1, stackable=True)
    nesterov: Flag = setting(False, "Nesterov's momentum", identity=False)
    dampening: Float = setting(
        0.0,
        "share of each gradient but the first that stays out of the momentum",
        identity=0.0,
        ge=0,
        le=1,
        stackable=True,
    )

    @model_validator(mode="after")
    def _one_momentum(self) -> Sgd:
        if self.nesterov and self.dampening:
            raise ValueError(
                f"Nesterov's momentum takes no dampening: expected dampening=0 with nesterov=true, not "
                f"{self.dampening:g}"
            )
        return self


@optimizer
class Adagrad(OptimizerPart):
    """AdaGrad (Duchi et al. 2011): each number's step is divided by the root of its summed squared gradients."""

    name: Literal["adagrad"] = "adagrad"
    lr: Float = setting(0.01, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    lr_decay: Float = setting(
        0.0, "divides the learning rate by 1 + lr_decay (step - 1)", identity=0.0, ge=0, stackable=True
    )
    eps: Float = setting(1e-10, "added to the denominator", identity=1e-10, gt=0, stackable=True)


@optimizer
class Rmsprop(OptimizerPart):
    """RMSProp (Hinton 2012, lecture 6e): steps are divided by the root of the mean of squared gradients.

    `centered` divides by the deviation instead (Graves 2013, arXiv 1308.0850, equations 38 to 41).
    """

    name: Literal["rmsprop"] = "rmsprop"
    lr: Float = setting(0.01, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    alpha: Float = setting(0.99, "decay of the mean of squared gradients", identity=0.99, ge=0, lt=1, stackable=True)
    eps: Float = setting(1e-8, "added to the denominator", identity=1e-8, gt=0, stackable=True)
    momentum: Float = setting(0.0, "momentum of the divided gradients", identity=0.0, ge=0, lt=1, stackable=True)
    centered: Flag = setting(False, "divide by the deviation of gradients, not by their size", identity=False)


@optimizer
class Adadelta(OptimizerPart):
    """Adadelta (Zeiler 2012, arXiv 1212.5701, algorithm 1): the size of steps follows that of the last ones."""

    name: Literal["adadelta"] = "adadelta"
    lr: Float = setting(1.0, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    rho: Float = setting(0.9, "decay of both means of squares", identity=0.9, ge=0, lt=1, stackable=True)
    eps: Float = setting(1e-6, "added to both means under their roots", identity=1e-6, gt=0, stackable=True)


@optimizer
class Adam(AdamPart):
    """Adam with bias correction (Kingma and Ba 2014, arXiv 1412.6980, algorithm 1).

    Weight decay is added to the gradient, so that it is divided by the root of the second moment; `adamw` decouples it.
    """

    name: Literal["adam"] = "adam"


@optimizer
class Adamw(AdamPart):
    """Adam with decoupled weight decay (arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    weight_decay: Float = setting(0.01, "decoupled weight decay", identity=0.01, ge=0, stackable=True)


@optimizer
class DemonAdam(AdamPart):
    """Adam whose beta1 is to decay by Demon (Chen et al. 2019, arXiv 1910.04952, algorithm 2).

    The paper's form: the first moment is a sum, m = g + beta1 m, without Adam's factor 1 - beta1 and without a
    correction of its bias, so that the share of a gradient in all later steps falls with beta1; the second moment is
    Adam's, corrected. At equal lr a step is up to 1 / (1 - beta1) times Adam's: the default is a tenth of Adam's.
    """

    name: Literal["demon_adam"] = "demon_adam"
    lr: Float = setting(1e-4, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    beta1: Float = setting(
        0.9, "decay of the sum of gradients before Demon's schedule", identity=0.9, ge=0, lt=1, stackable=True
    )


@optimizer
class Nadam(AdamPart):
    """Adam with Nesterov's momentum (Dozat 2016, algorithm 2), its momentum warmed up by `momentum_decay`."""

    name: Literal["nadam"] = "nadam"
    lr: Float = setting(2e-3, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    momentum_decay: Float = setting(
        4e-3, "psi of the momentum beta1 (1 - 0.96^(psi step) / 2)", identity=4e-3, ge=0, stackable=True
    )
    decoupled: Flag = setting(False, "decouple weight decay, as adamw does", identity=False)


@optimizer
class Radam(AdamPart):
    """Rectified Adam (Liu et al. 2019, arXiv 1908.03265, algorithm 2): plain momentum until variances are known."""

    name: Literal["radam"] = "radam"
    decoupled: Flag = setting(False, "decouple weight decay, as adamw does", identity=False)


@optimizer
class Adamax(AdamPart):
    """Adam by the infinity norm (Kingma and Ba 2014, arXiv 1412.6980, algorithm 2)."""

    name: Literal["adamax"] = "adamax"
    lr: Float = setting(2e-3, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    beta2: Float = setting(0.999, "decay of the largest gradient", identity=0.999, ge=0, lt=1, stackable=True)
    eps: Float = setting(1e-8, "added to each gradient's size", identity=1e-8, gt=0, stackable=True)


@optimizer
class Lion(OptimizerPart):
    """Lion (Chen et al. 2023, arXiv 2302.06675, algorithm 2): steps of one size, by the sign of a mixed momentum."""

    name: Literal["lion"] = "lion"
    lr: Float = setting(1e-4, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    weight_decay: Float = setting(0.0, "decoupled weight decay", identity=0.0, ge=0, stackable=True)
    beta1: Float = setting(
        0.9, "share of the momentum in the direction of a step", identity=0.9, ge=0, lt=1, stackable=True
    )
    beta2: Float = setting(0.99, "decay of the momentum", identity=0.99, ge=0, lt=1, stackable=True)


@optimizer
class Muon(OptimizerPart):
    """Muon (Jordan et al. 2024): the momentum of a matrix is made orthogonal by Newton-Schulz iterations.

    Matrices and convolution kernels (as [out, rest]) are updated so; embeddings, biases, norms and whatever else is no
    matrix, by AdamW. Two defaults are not torch's. `adjust_lr` is the scale of arXiv 2502.16982, equation 4, not
    `original`: steps then have the size of AdamW's, and one learning rate serves both. `matmul` is float32, not
    bfloat16, which is slower than float32 on most CPUs.
    """

    name: Literal["muon"] = "muon"
    lr: Float = setting(1e-3, "learning rate", identity=ALWAYS, gt=0, stackable=True)
    weight_decay: Float = setting(0.1, "decoupled weight decay", identity=0.1, ge=0, stackable=True)
    momentum: Float = setting(0.95, "momentum of the matrices", identity=0.95, ge=0, lt=1, stackable=True)
    nesterov: Flag = setting(True, "Nesterov's momentum", identity=True)
    iterations: Int = setting(5, "Newton-Schulz iterations", identity=5, ge=1, le=99)
    matmul: Literal["float32", "bfloat16"] = setting(
        "float32",
        "precision of the Newton-Schulz iterations; bfloat16 pays for large matrices on a GPU",
        identity="float32",
    )
    adjust_lr: Literal["match_rms_adamw", "original", "none"] = setting(
        "match_rms_adamw",
        "scale of a step for [rows, columns]: 0.2 sqrt(max(rows, columns)), or sqrt(max(1, rows / columns)), or 1",
        identity="match_rms_adamw",
    )
    exclude: Names = setting((), "patterns of matrices that AdamW updates, such as 'output.*'", identity=())
    adamw_lr: Float = setting(
        1.0, "AdamW's learning rate as a multiple of lr, whose schedule it follows", identity=1.0, gt=0, stackable=True
    )
    adamw_beta1: Float = setting(0.9, "AdamW's beta1", identity=0.9, ge=0, lt=1, stackable=True)
    adamw_beta2: Float = setting(0.999, "AdamW's beta2", identity=0.999, ge=0, lt=1, stackable=True)
    adamw_eps: Float = setting(1e-8, "AdamW's eps", identity=1e-8, gt=0, stackable=True)


@optimizer
class Adafactor(OptimizerPart):
    """Adafactor (Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5), as torch has it: little memory.

    The second moment of a matrix is kept as its means over rows and columns. A step's size is relative to that of the
    weights; lr is its upper bound, beside 1 / sqrt(step).
    """

    name: Literal["adafactor"] = "adafactor"
    lr: Float = setting(0.01, "largest relative step", identity=ALWAYS, gt=0, stackable=True)
    weight_decay: Float = setting(0.0, "decoupled weight decay", identity=0.0, ge=0, stackable=True)
    beta2_decay: Float = setting(
        -0.8, "power of the step by which new squares are weighed", identity=-0.8, lt=0, stackable=True
    )
    eps1: Float | None = setting(
        None, "least root of the second moment; null is the precision of the parameters", identity=None, gt=0
    )
    eps2: Float = setting(1e-3, "least size of weights for relative steps", identity=1e-3, gt=0, stackable=True)
    clip: Float = setting(1.0, "largest root mean square of an update", identity=1.0, ge=1, stackable=True)


@optimizer
class ScheduleFree(OptimizerPart):
    """Schedule-free learning (Defazio et al. 2024, arXiv 2405.15682): an average of the weights in place of a schedule.

    By the package `schedulefree`. The weights that are trained are not those that are evaluated and kept.
    """

    name: Literal["schedule_free"] = "schedule_free"
    base: Literal["adamw", "sgd"] = setting(
        "adamw", "what makes the steps; sgd wants a learning rate of about 1", identity="adamw"
    )
    lr: Float = setting(2.5e-3, "learning rate", identity=ALWAYS, gt=0)
    weight_decay: Float = setting(0.0, "weight decay, of the weights that are trained", identity=0.0, ge=0)
    momentum: Float = setting(0.9, "share of the average in the weights that are trained", identity=0.9, gt=0, lt=1)
    beta2: Float = setting(0.999, "adamw's decay of the mean of squared gradients", identity=0.999, ge=0, lt=1)
    eps: Float = setting(1e-8, "added to adamw's denominator", identity=1e-8, gt=0)
    r: Float = setting(0.0, "power of the step in the weights of the average", identity=0.0, ge=0)
    lr_power: Float = setting(
        2.0, "power of the largest learning rate so far in the weights of the average", identity=2.0, ge=0
    )


@optimizer
class Lbfgs(OptimizerPart):
    """L-BFGS (Liu and Nocedal 1989): quasi-Newton steps for full batches, `batch_size: all`.

    A step evaluates the loss several times.
    """

    name: Literal["lbfgs"] = "lbfgs"
    lr: Float = setting(1.0, "length of a step along the quasi-Newton direction", identity=ALWAYS, gt=0)
    weight_decay: Float = setting(0.0, "L-BFGS has none: expected 0", identity=0.0, ge=0)
    iterations: Int = setting(20, "most iterations of a step", identity=20, ge=1)
    evaluations: Int | None = setting(
        None, "most evaluations of the loss in a step; null is 5/4 of iterations", identity=None, ge=1
    )
    tolerance_grad: Float = setting(1e-7, "a step ends where no gradient is larger", identity=1e-7, ge=0)
    tolerance_change: Float = setting(1e-9, "a step ends where loss and weights change by no more", identity=1e-9, ge=0)
    history: Int = setting(100, "updates that the curvature is estimated from", identity=100, ge=1)
    line_search: Literal["none", "strong_wolfe"] = setting(
        "strong_wolfe", "how the length of a step is found; none takes lr, which may diverge", identity="none"
    )
