"""Keys, generators and the global state of the three libraries that draw random numbers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

MASK = (1 << 64) - 1


def key(seed: int, purpose: str, *address: int) -> int:
    """Return 63 well-mixed bits for an address: `key(seed, "order", epoch)`.

    >>> key(0, "order", 1) == key(0, "order", 1) != key(0, "order", 2)
    True
    """
    text = "/".join([str(seed), purpose, *(str(item) for item in address)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, *address: int) -> torch.Generator:
    """Return a CPU generator that stands at the start of an address's stream."""
    return torch.Generator().manual_seed(key(seed, purpose, *address))


class StepSeeds:
    """The seed of the device's generator at each step, in about a microsecond (SplitMix64 of a keyed counter).

    torch's CPU generator uses the low 32 bits of its seed only, so these must be well mixed too.
    """

    def __init__(self, seed: int, purpose: str = "step") -> None:
        self.base = key(seed, purpose)

    def at(self, step: int) -> int:
        """Return the seed of a step, 63 bits."""
        x = (self.base + step * 0x9E3779B97F4A7C15) & MASK
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & MASK
        return (x ^ (x >> 31)) >> 1


def seed_all(value: int) -> None:
    """Seed torch, NumPy's legacy generator and Python's: for code of the user's that draws from them."""
    torch.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)  # noqa: NPY002: the global state that user code draws from
    random.seed(value)


@contextmanager
def preserved() -> Iterator[None]:
    """Give the caller's random state back afterwards: training in a notebook must not disturb the notebook."""
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
