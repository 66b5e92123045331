"""Keys, generators and the global state of the libraries that draw random numbers."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

MASK = (1 << 64) - 1


def key(seed: int, purpose: str, *address: int) -> int:
    """Return 63 well-mixed bits for an address: `key(seed, "order", epoch)`.

    They are the first bits of a BLAKE2b digest of "seed/purpose/address...", the same on every machine and for ever:
    a test holds them. A purpose is a plain word, without a slash.

    >>> key(0, "order", 1) == key(0, "order", 1) != key(0, "order", 2)
    True
    """
    text = "/".join([str(seed), purpose, *(str(item) for item in address)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def generator(seed: int, purpose: str, *address: int) -> torch.Generator:
    """Return a CPU generator that stands at the start of an address's stream."""
    return torch.Generator().manual_seed(key(seed, purpose, *address))


class StepSeeds:
    """The seed of torch's generators at each step, in about a microsecond (SplitMix64 of a keyed counter).

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
    """Seed torch, NumPy's legacy generator and Python's: for code of the user's that draws from them.

    Not by `torch.manual_seed`, which formats a traceback for each kind of device that is not in use: 1.4 milliseconds.
    """
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(value)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)  # noqa: NPY002  (the global state that user code draws from)
    random.seed(value)


def captured() -> dict[str, Any]:
    """Return where NumPy's legacy generator and Python's stand, as plain values that a checkpoint can hold.

    Seeding these two at each step, as torch's are, would cost ten microseconds a step: their state is saved instead.

    >>> state = captured(); first = random.random(); restore(state); random.random() == first
    True
    """
    python: Any = random.getstate()
    _, words, position, has_gauss, gauss = np.random.get_state()  # noqa: NPY002
    return {
        "python": [python[0], list(python[1]), python[2]],
        "numpy": [torch.from_numpy(np.asarray(words).astype(np.int64)), int(position), int(has_gauss), float(gauss)],
    }


def restore(state: Mapping[str, Any]) -> None:
    """Put NumPy's legacy generator and Python's back to where `captured` found them."""
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
    words, *rest = state["numpy"]
    np.random.set_state(("MT19937", words.numpy().astype(np.uint32), *rest))  # noqa: NPY002


def snapshot() -> Callable[[], None]:
    """Return what puts every generator back to where it stands now: torch's on all devices, NumPy's legacy, Python's.

    >>> back = snapshot(); first = torch.rand(1), random.random(); back(); first == (torch.rand(1), random.random())
    True
    """
    python, numpy, cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None

    def put_back() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)

    return put_back


@contextmanager
def preserved() -> Generator[None]:
    """Give the caller's random state back afterwards: training in a notebook must not disturb the notebook."""
    put_back = snapshot()
    try:
        yield
    finally:
        put_back()
