"""The batches of CIFAR-10's Python archive, which are pickles, read without running anything that is in them.

A pickle may name any function and have it called. Here the names that these files use stand for inert records of our
own, not for what they name: nothing of NumPy's is called either, and a pickle that names anything else is refused.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import Any, cast

import numpy as np

from shoal.errors import DataError
from shoal.pickled import operations

MOST_BYTES = 64 << 20
"""A file that is larger is none of CIFAR-10's, whose batches have 31 MB."""
DAMAGES = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
    RecursionError,
    struct.error,
)

Array = np.ndarray[Any, Any]


def read_batch(content: bytes, where: str) -> tuple[Array, list[Any]]:
    """Return the `data` (uint8, of any shape) and the `labels` of a pickled batch; raises DataError."""
    if len(content) > MOST_BYTES:
        raise DataError(f"{where}: {len(content):,} bytes: expected a batch of CIFAR-10, of at most {MOST_BYTES:,}.")
    try:
        for _ in operations(content):
            pass
        found: Any = _Reader(io.BytesIO(content), encoding="bytes").load()
    except DAMAGES as error:
        raise DataError(
            f"{where}: truncated, or no pickle ({str(error) or type(error).__name__}). Fetch the archive again."
        ) from error
    except _RefusedError as error:
        raise DataError(
            f"{where}: the pickle names {error}, and a batch of CIFAR-10 names nothing but NumPy's arrays. Nothing of "
            "it was run. Fetch the archive from https://www.cs.toronto.edu/~kriz/cifar.html."
        ) from error
    if not isinstance(found, dict) or not {b"data", b"labels"} <= set(cast(dict[Any, Any], found)):
        raise DataError(f"{where}: expected a dict with the keys 'data' and 'labels', as CIFAR-10's batches are.")
    batch = cast(dict[bytes, Any], found)
    if not isinstance(batch[b"labels"], list):
        raise DataError(f"{where}: expected a list of labels, found {type(batch[b'labels']).__name__}.")
    return _array(batch[b"data"], where), cast(list[Any], batch[b"labels"])


class _RefusedError(Exception):
    """The pickle names something that a batch does not need."""


class _Record:
    """What a pickle is given for something of NumPy's: it keeps what it is given and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments, self.state = arguments, cast(Any, None)

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _ArrayRecord(_Record):
    """An array: its state is (version, shape, dtype, whether Fortran's order, bytes)."""


class _DtypeRecord(_Record):
    """A dtype: its first argument is its code."""


class _KindRecord(_Record):
    """`numpy.ndarray` itself, which is passed on as an argument."""


NAMES: dict[tuple[str, str], type[_Record]] = {
    ("numpy.core.multiarray", "_reconstruct"): _ArrayRecord,
    ("numpy._core.multiarray", "_reconstruct"): _ArrayRecord,
    ("numpy", "dtype"): _DtypeRecord,
    ("numpy", "ndarray"): _KindRecord,
}


class _Reader(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) not in NAMES:
            raise _RefusedError(f"{module_name}.{global_name}")
        return NAMES[module_name, global_name]


def _array(value: Any, where: str) -> Array:
    """The array of a record, from its bytes alone."""
    match getattr(value, "state", None) if isinstance(value, _ArrayRecord) else None:
        case (
            _,
            (int() as rows, int() as columns),
            _DtypeRecord(arguments=("u1" | b"u1", *_)),
            False,
            bytes() as found,
        ):
            pass
        case _:
            raise DataError(f"{where}: expected data that are an array of bytes with two axes, as CIFAR-10's are.")
    if min(rows, columns) < 0 or rows * columns != len(found):
        raise DataError(
            f"{where}: its data say {rows:,} x {columns:,} bytes, and {len(found):,} are there. "
            "Fetch the archive again."
        )
    return np.frombuffer(found, np.uint8).reshape(rows, columns)
