"""Where an axis has its marks: round numbers, or powers of ten and their multiples."""

from __future__ import annotations

import math

from shoal.pages import formats

TINY = 1e-300
"""A span below this has no steps that a float can tell apart."""
STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)


def linear(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return round numbers between low and high, at most `most`.

    >>> linear(0.0, 0.97), linear(3, 3)
    ([0.0, 0.2, 0.4, 0.6, 0.8], [3])
    """
    span = high - low
    if not span > TINY or not math.isfinite(span):
        return [low]
    power = 10.0 ** math.floor(math.log10(span / most))
    for factor in (*STEPS, 20.0, 50.0):
        step = factor * power
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first < most:
            return [float(f"{number * step:.12g}") for number in range(first, last + 1)]
    return [low, high]


def logarithmic(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return powers of ten between low and high, with 2 and 5 times them where there are few; both are above 0.

    >>> logarithmic(0.003, 4), logarithmic(1e-9, 1.0)
    ([0.01, 0.1, 1.0], [1e-09, 1e-07, 1e-05, 0.001, 0.1])
    """
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    powers = [power for power in range(first, last + 1) if low * 0.999 <= 10.0**power <= high * 1.001]
    if len(powers) >= 2:
        return [float(f"1e{power}") for power in powers[:: -(-len(powers) // most)]]
    fine = [float(f"{digit}e{power}") for power in range(first, last + 1) for digit in (1, 2, 5)]
    within = [value for value in fine if low * 0.999 <= value <= high * 1.001]
    return within if len(within) >= 2 else linear(low, high, most=most)


def label(value: float) -> str:
    """Return a mark's number in few characters.

    >>> [label(value) for value in (0.0, 0.25, 1200.0, 1e-05, 25000.0, 3e9)]
    ['0', '0.25', '1,200', '1e-5', '25,000', '3e9']
    """
    size = abs(value)
    if size and (size < 1e-3 or size >= 1e6):
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(power)}"
    if float(value).is_integer():
        return formats.count(int(value))
    return f"{value:.10g}"
