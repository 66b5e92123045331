"""Random numbers that are a function of their address: no generator, no state, the same bits on every device.

For what is drawn for each example inside a step, where a generator would tie the draw to the order of the batch. An
address is (key, index, number of the draw); the key says seed, purpose and epoch (`key53`), the index says which
example. A number is the same whichever others are drawn beside it.

It is a hash of a counter, in the manner of SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
generators", OOPSLA 2014): the address is laid out along a line by odd multipliers, then two rounds of shift, exclusive
or and multiplication mix it. All in int64, whose products wrap alike everywhere. Not for cryptography.
"""

from __future__ import annotations

import torch
from torch import Tensor

from shoal.rng.streams import key


def _signed(bits: int) -> int:
    """64 bits as the int64 that has them."""
    return bits - (1 << 64) if bits >> 63 else bits


OF_KEY, OF_INDEX, OF_DRAW = (_signed(x) for x in (0xD1B54A32D192ED03, 0xABC98388FB8FAC03, 0x8CB92BA72F3D8DD7))
"""2**64 times g, g**2 and g**3, made odd, where g is the inverse of the root of x**4 = x + 1: the three-dimensional
golden ratio, of which no small whole multiples cancel."""
ROUNDS = (_signed(0xD6E8FEB86659FD93), _signed(0x9FB21C651E98DF25))
KEY_BITS = 53
"""Whole numbers of so many bits are exact in float64."""


def key53(seed: int, purpose: str, *address: int) -> int:
    """Return the first 53 of the bits of `key`: a key that float64 holds exactly, so that it can travel as a hyper.

    >>> key53(0, "augment", 3) == int(float(key53(0, "augment", 3))) != key53(0, "augment", 4)
    True
    """
    return key(seed, purpose, *address) >> (63 - KEY_BITS)


def uniform(key: Tensor | int, index: Tensor, draws: int) -> Tensor:
    """Return `draws` numbers for each example, uniform in [0, 1): [B, draws] float32, multiples of 2**-24.

    `index` [B] is int64; `key` is an int, or a tensor [] of int64, or of float64 that holds a whole number below 2**53.
    Sixteen operations on small tensors: 34 microseconds for B = 128 and four draws on one core.

    >>> uniform(7, torch.tensor([5, 9]), 2)[1].equal(uniform(torch.tensor(7.0), torch.tensor([9]), 3)[0, :2])
    True
    """
    if isinstance(key, Tensor):
        x_B = torch.add(index * OF_INDEX, key.to(torch.int64), alpha=OF_KEY)
    else:
        x_B = index * OF_INDEX + _signed(key * OF_KEY % (1 << 64))
    x_BD = torch.add(x_B.unsqueeze(1), torch.arange(draws, device=index.device), alpha=OF_DRAW)
    for factor in ROUNDS:
        x_BD = (x_BD ^ (x_BD >> 32)) * factor
    return (x_BD >> 40).to(torch.float32) * 2.0**-24 + 0.5  # the upper 24 bits, signed: as many as float32 holds
