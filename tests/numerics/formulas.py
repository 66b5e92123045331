"""Every optimizer's formula in NumPy, float64, from its source: what classes and rules are held to.

A formula takes weights by name, the gradient as a function of step and weights, and the recipe's keys. `FORMULAS` is
what `tests/contracts/test_optimizers.py` runs over; an optimizer that is not in it fails there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Weights = dict[str, Array]
Keys = Mapping[str, Any]


@dataclass(frozen=True)
class Case:
    """What is trained: gradients by (step, weights), and which weights are decayed, which are matrices to Muon."""

    before: Weights
    slope: Callable[[int, Weights], Weights]
    steps: int
    decayed: Collection[str]
    matrices: Collection[str]


Formula = Callable[[Case, Keys], Weights]
One = Callable[[Array, list[Array], Keys], Array]


def each(one: One, rest: One | None = None) -> Formula:
    """A formula for one array and its gradients, applied to all; `rest` to those that are no matrices."""

    def formula(case: Case, keys: Keys) -> Weights:
        given = [case.slope(step, case.before) for step in range(case.steps)]
        after: Weights = {}
        for name, x in case.before.items():
            own = dict(keys) if name in case.decayed else {**keys, "weight_decay": 0.0}
            chosen = one if rest is None or name in case.matrices else rest
            after[name] = chosen(x, [gradient[name] for gradient in given], own)
        return after

    return formula


def sgd(x: Array, g: list[Array], k: Keys) -> Array:
    """Sutskever et al. 2013, as torch has it: v = momentum v + g; x -= lr v, or lr (g + momentum v) with Nesterov."""
    velocity = np.zeros_like(x)
    for step, gradient in enumerate(g):
        slope = gradient + k["weight_decay"] * x
        if k["momentum"] == 0:
            x = x - k["lr"] * slope
            continue
        velocity = k["momentum"] * velocity + (1 - k["dampening"] if step else 1) * slope
        x = x - k["lr"] * (slope + k["momentum"] * velocity if k["nesterov"] else velocity)
    return x


def adagrad(x: Array, g: list[Array], k: Keys) -> Array:
    """Duchi et al. 2011, section 1.2, diagonal; with torch's decay of lr."""
    total = np.zeros_like(x)
    for step, gradient in enumerate(g):
        slope = gradient + k["weight_decay"] * x
        total = total + slope**2
        x = x - k["lr"] / (1 + step * k["lr_decay"]) * slope / (np.sqrt(total) + k["eps"])
    return x


def rmsprop(x: Array, g: list[Array], k: Keys) -> Array:
    """Hinton 2012, lecture 6e; centered as Graves 2013, arXiv 1308.0850, equations 38 to 41, but for where eps is."""
    square, mean, velocity = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    for gradient in g:
        slope = gradient + k["weight_decay"] * x
        square = k["alpha"] * square + (1 - k["alpha"]) * slope**2
        mean = k["alpha"] * mean + (1 - k["alpha"]) * slope
        size = np.sqrt(square - mean**2 if k["centered"] else square) + k["eps"]
        velocity = k["momentum"] * velocity + slope / size
        x = x - k["lr"] * velocity
    return x


def adadelta(x: Array, g: list[Array], k: Keys) -> Array:
    """Zeiler 2012, arXiv 1212.5701, algorithm 1."""
    square, moved = np.zeros_like(x), np.zeros_like(x)
    for gradient in g:
        slope = gradient + k["weight_decay"] * x
        square = k["rho"] * square + (1 - k["rho"]) * slope**2
        delta = np.sqrt(moved + k["eps"]) / np.sqrt(square + k["eps"]) * slope
        moved = k["rho"] * moved + (1 - k["rho"]) * delta**2
        x = x - k["lr"] * delta
    return x


def adam(x: Array, g: list[Array], k: Keys) -> Array:
    """Kingma and Ba 2014, arXiv 1412.6980, algorithm 1, with L2."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step, gradient in enumerate(g, 1):
        slope = gradient + k["weight_decay"] * x
        mean = k["beta1"] * mean + (1 - k["beta1"]) * slope
        square = k["beta2"] * square + (1 - k["beta2"]) * slope**2
        unbiased = mean / (1 - k["beta1"] ** step), square / (1 - k["beta2"] ** step)
        x = x - k["lr"] * unbiased[0] / (np.sqrt(unbiased[1]) + k["eps"])
    return x


def adamw(x: Array, g: list[Array], k: Keys) -> Array:
    """Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, with lr times decay as in torch."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    for step, gradient in enumerate(g, 1):
        x = x - k["lr"] * k["weight_decay"] * x
        mean = k["beta1"] * mean + (1 - k["beta1"]) * gradient
        square = k["beta2"] * square + (1 - k["beta2"]) * gradient**2
        x = x - k["lr"] * (mean / (1 - k["beta1"] ** step)) / (np.sqrt(square / (1 - k["beta2"] ** step)) + k["eps"])
    return x


def demon_adam(x: Array, g: list[Array], k: Keys) -> Array:
    """Chen et al. 2019, arXiv 1910.04952, algorithm 2, at a constant beta1: the first moment is a sum."""
    total, square = np.zeros_like(x), np.zeros_like(x)
    for step, gradient in enumerate(g, 1):
        slope = gradient + k["weight_decay"] * x
        total = slope + k["beta1"] * total
        square = k["beta2"] * square + (1 - k["beta2"]) * slope**2
        x = x - k["lr"] * total / (np.sqrt(square / (1 - k["beta2"] ** step)) + k["eps"])
    return x


def nadam(x: Array, g: list[Array], k: Keys) -> Array:
    """Dozat 2016, algorithm 2, with the momentum of its section 2.2."""
    mean, square, product = np.zeros_like(x), np.zeros_like(x), 1.0

    def momentum(step: int) -> float:
        return k["beta1"] * (1 - 0.5 * 0.96 ** (step * k["momentum_decay"]))

    for step, gradient in enumerate(g, 1):
        slope = gradient if k["decoupled"] else gradient + k["weight_decay"] * x
        x = x - k["lr"] * k["weight_decay"] * x if k["decoupled"] else x
        product *= momentum(step)
        mean = k["beta1"] * mean + (1 - k["beta1"]) * slope
        square = k["beta2"] * square + (1 - k["beta2"]) * slope**2
        ahead = momentum(step + 1) * mean / (1 - product * momentum(step + 1))
        ahead = ahead + (1 - momentum(step)) * slope / (1 - product)
        x = x - k["lr"] * ahead / (np.sqrt(square / (1 - k["beta2"] ** step)) + k["eps"])
    return x


def radam(x: Array, g: list[Array], k: Keys) -> Array:
    """Liu et al. 2019, arXiv 1908.03265, algorithm 2, rectified from a length of 5 on; eps as in torch."""
    mean, square = np.zeros_like(x), np.zeros_like(x)
    longest = 2 / (1 - k["beta2"]) - 1
    for step, gradient in enumerate(g, 1):
        slope = gradient if k["decoupled"] else gradient + k["weight_decay"] * x
        x = x - k["lr"] * k["weight_decay"] * x if k["decoupled"] else x
        mean = k["beta1"] * mean + (1 - k["beta1"]) * slope
        square = k["beta2"] * square + (1 - k["beta2"]) * slope**2
        unbiased, power = mean / (1 - k["beta1"] ** step), k["beta2"] ** step
        length = longest - 2 * step * power / (1 - power)
        if length > 5:
            top, bottom = (length - 4) * (length - 2) * longest, (longest - 4) * (longest - 2) * length
            unbiased = unbiased * np.sqrt(top / bottom) * np.sqrt(1 - power) / (np.sqrt(square) + k["eps"])
        x = x - k["lr"] * unbiased
    return x


def adamax(x: Array, g: list[Array], k: Keys) -> Array:
    """Kingma and Ba 2014, arXiv 1412.6980, algorithm 2, with torch's eps."""
    mean, largest = np.zeros_like(x), np.zeros_like(x)
    for step, gradient in enumerate(g, 1):
        slope = gradient + k["weight_decay"] * x
        mean = k["beta1"] * mean + (1 - k["beta1"]) * slope
        largest = np.maximum(k["beta2"] * largest, np.abs(slope) + k["eps"])
        x = x - k["lr"] / (1 - k["beta1"] ** step) * mean / largest
    return x


def lion(x: Array, g: list[Array], k: Keys) -> Array:
    """Chen et al. 2023, arXiv 2302.06675, algorithm 2."""
    mean = np.zeros_like(x)
    for gradient in g:
        direction = np.sign(k["beta1"] * mean + (1 - k["beta1"]) * gradient)
        x = x - k["lr"] * (direction + k["weight_decay"] * x)
        mean = k["beta2"] * mean + (1 - k["beta2"]) * gradient
    return x


def muon(x: Array, g: list[Array], k: Keys) -> Array:
    """Jordan et al. 2024; the scale as in arXiv 2502.16982, equation 4, or as in Jordan's code."""
    mean = np.zeros_like(x)
    rows, columns = len(x), x[0].size
    scale = {"match_rms_adamw": 0.2 * max(rows, columns) ** 0.5, "original": max(1, rows / columns) ** 0.5, "none": 1.0}
    for gradient in g:
        mean = k["momentum"] * mean + (1 - k["momentum"]) * gradient
        mixed = (1 - k["momentum"]) * gradient + k["momentum"] * mean if k["nesterov"] else mean
        left, values, right = np.linalg.svd(mixed.reshape(rows, columns), full_matrices=False)
        values = values / np.sqrt((values**2).sum())
        for _ in range(k["iterations"]):
            values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
        x = x - k["lr"] * k["weight_decay"] * x
        x = x - k["lr"] * scale[k["adjust_lr"]] * ((left * values) @ right).reshape(x.shape)
    return x


def adamw_of_muon(x: Array, g: list[Array], k: Keys) -> Array:
    """AdamW, with the keys that Muon has for it; its learning rate is a multiple of Muon's."""
    own = {key: k[f"adamw_{key}"] for key in ("beta1", "beta2", "eps")}
    return adamw(x, g, {**own, "lr": k["lr"] * k["adamw_lr"], "weight_decay": k["weight_decay"]})


def adafactor(x: Array, g: list[Array], k: Keys) -> Array:
    """Shazeer and Stern 2018, arXiv 1804.04235, algorithms 4 and 5, with torch's lr and eps."""

    def rms(value: Array) -> float:
        return float(np.sqrt(np.mean(value**2)))

    least = np.finfo(np.float32).eps if k["eps1"] is None else k["eps1"]
    rows, columns, whole = 0.0, 0.0, np.zeros_like(x)
    for step, gradient in enumerate(g, 1):
        fresh = step ** k["beta2_decay"]
        size = max(k["eps2"], rms(x)) * min(k["lr"], step**-0.5)
        x = x - k["lr"] * k["weight_decay"] * x
        square = gradient**2
        if x.ndim > 1:
            rows = (1 - fresh) * rows + fresh * square.mean(-1, keepdims=True)
            columns = (1 - fresh) * columns + fresh * square.mean(-2, keepdims=True)
            moment = rows * columns / np.maximum(np.asarray(rows).mean(-2, keepdims=True), least)
        else:
            whole = (1 - fresh) * whole + fresh * square
            moment = whole
        update = gradient / np.sqrt(np.maximum(moment, least**2))
        x = x - size * update / max(1.0, rms(update) / k["clip"])
    return x


def schedule_free(x: Array, g: list[Array], k: Keys) -> Array:
    """Defazio et al. 2024, arXiv 2405.15682, equations 3 to 5 and algorithm 1: what is trained, y."""
    return schedule_free_points(x, g, k)[0]


def schedule_free_points(x: Array, g: list[Array], k: Keys) -> tuple[Array, Array]:
    """Both points: y, which is trained, and x, the average."""
    y, z, square, weights = x, x, np.zeros_like(x), 0.0
    for step, gradient in enumerate(g, 1):
        slope = gradient
        if k["base"] == "adamw":
            square = k["beta2"] * square + (1 - k["beta2"]) * gradient**2
            slope = gradient / (np.sqrt(square / (1 - k["beta2"] ** step)) + k["eps"])
        z = z - k["lr"] * (slope + k["weight_decay"] * y)
        weight = step ** k["r"] * k["lr"] ** k["lr_power"]
        weights += weight
        x = (1 - weight / weights) * x + weight / weights * z
        y = (1 - k["momentum"]) * z + k["momentum"] * x
    return y, x


def lbfgs(case: Case, k: Keys) -> Weights:
    """Liu and Nocedal 1989, with Nocedal's two loops (1980), one iteration a step, without a line search."""
    assert k["iterations"] == 1
    assert k["line_search"] == "none"
    shapes = {name: x.shape for name, x in case.before.items()}

    def named(vector: Array) -> Weights:
        sizes = [int(np.prod(shape)) for shape in shapes.values()]
        parts = np.split(vector, np.cumsum(sizes)[:-1])
        return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}

    def gradient(step: int, vector: Array) -> Array:
        slopes = case.slope(step, named(vector))
        return np.concatenate([slopes[name].ravel() for name in shapes])

    x = np.concatenate([value.ravel() for value in case.before.values()])
    pairs: list[tuple[Array, Array]] = []
    last, moved = np.zeros_like(x), np.zeros_like(x)
    for step in range(case.steps):
        slope = gradient(step, x)
        if step == 0:
            direction, length = -slope, min(1.0, 1 / np.abs(slope).sum()) * k["lr"]
        else:
            pairs = [*pairs, (moved, slope - last)][-k["history"] :]
            direction, length = -inverse_curvature(pairs, slope), k["lr"]
        last, moved = slope, length * direction
        x = x + moved
    return named(x)


def inverse_curvature(pairs: list[tuple[Array, Array]], slope: Array) -> Array:
    """The estimated inverse Hessian times a gradient, of pairs (change of weights, change of gradients)."""
    q, shares = slope, []
    for s, y in reversed(pairs):
        shares.append(s @ q / (y @ s))
        q = q - shares[-1] * y
    s, y = pairs[-1]
    q = q * (s @ y) / (y @ y)
    for (s, y), share in zip(pairs, reversed(shares), strict=True):
        q = q + (share - y @ q / (y @ s)) * s
    return q


FORMULAS: dict[str, Formula] = {
    "sgd": each(sgd),
    "adagrad": each(adagrad),
    "rmsprop": each(rmsprop),
    "adadelta": each(adadelta),
    "adam": each(adam),
    "adamw": each(adamw),
    "demon_adam": each(demon_adam),
    "nadam": each(nadam),
    "radam": each(radam),
    "adamax": each(adamax),
    "lion": each(lion),
    "muon": each(muon, rest=adamw_of_muon),
    "adafactor": each(adafactor),
    "schedule_free": each(schedule_free),
    "lbfgs": lbfgs,
}
