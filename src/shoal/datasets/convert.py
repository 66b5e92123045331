"""From what people have (arrays, tensors, lists) to the tensors of a split, without a copy where that is possible."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shoal.datasets.chunks import chunks
from shoal.datasets.examples import Examples
from shoal.errors import DataError

DTYPES = frozenset(
    {torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}
    | {torch.float16, torch.bfloat16, torch.float32, torch.float64}
)
WIDER = {"uint16": "int32", "uint32": "int64", "uint64": "int64"}
"""torch stores these but cannot index them, so the next wider type that it can index holds them."""


def to_tensor(value: Any, where: str) -> Tensor:
    """Return `value` as a tensor that shares its memory; `where` names it in errors, such as 'train inputs'.

    A copy is made of lists, foreign byte orders, negative strides and unsigned types wider than a byte. Raises
    DataError for what is not numeric: objects, texts, dates, complex numbers.
    """
    if isinstance(value, Tensor):
        tensor = value.detach()
        if str(tensor.dtype).removeprefix("torch.") in WIDER:
            return to_tensor(tensor.cpu().numpy(), where)
        if tensor.dtype not in DTYPES or tensor.layout != torch.strided:
            raise DataError(f"{where}: a {tensor.layout} tensor of dtype {tensor.dtype} {EXPECTED}")
        return tensor
    return _from_array(_array(value, where), where)


EXPECTED = "cannot be trained on: expected dense integers or real numbers of at most 64 bits."


def _array(value: Any, where: str) -> np.ndarray[Any, Any]:
    try:
        array: np.ndarray[Any, Any] = np.asarray(value)
    except (ValueError, TypeError) as error:
        raise DataError(f"{where}: a {type(value).__name__} that is no regular array: {error}.") from error
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        hint = " Texts and objects have to be encoded as numbers first." if array.dtype.kind in "OUS" else ""
        raise DataError(f"{where}: an array of dtype {array.dtype} {EXPECTED}{hint}")
    return array


def _from_array(array: np.ndarray[Any, Any], where: str) -> Tensor:
    if array.dtype.name in WIDER:
        if array.dtype.itemsize == 8 and array.size and int(array.max()) > np.iinfo(np.int64).max:
            raise DataError(f"{where}: the value {int(array.max())} does not fit into a signed 64-bit integer.")
        array = array.astype(WIDER[array.dtype.name])
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        array = np.ascontiguousarray(array)
    with warnings.catch_warnings():  # a read-only array is fine: nothing here writes to the tensors of a split
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable", category=UserWarning)
        return torch.from_numpy(array)


def examples(split: str, inputs: Any, targets: Any) -> Examples:
    """Return one split of inputs [N, ...] and targets [N] or [N, ...]; raises DataError for shapes that disagree."""
    x, y = to_tensor(inputs, f"{split} inputs"), to_tensor(targets, f"{split} targets")
    if x.ndim == 0 or y.ndim == 0:
        raise DataError(f"{split}: expected arrays of examples, found a single number.")
    if len(x) != len(y):
        raise DataError(f"{split}: {len(x):,} inputs and {len(y):,} targets: expected one target for each input.")
    if not len(x):
        raise DataError(f"{split}: there are no examples in it. Leave the split out, or fill it.")
    if x.ndim == 1:
        raise DataError(
            f"{split} inputs: shape {tuple(x.shape)} has an axis for examples and none for features. "
            "Where there is one feature, give x[:, None]."
        )
    if not x[0].numel():
        raise DataError(f"{split} inputs: shape {tuple(x.shape)} has no features in it.")
    if not y.is_floating_point() and y.ndim > 1:
        return Examples(x, _several_labels(split, y), multilabel=True)
    return Examples(x, y)


def _several_labels(split: str, y: Tensor) -> Tensor:
    """Integer targets [N, K] of 0 and 1 as float32, which is what their loss takes; all others are refused."""
    if y.ndim == 2 and y.shape[1] > 1 and zeros_and_ones(y):
        return y.to(torch.float32)
    if y[0].numel() == 1:
        hint = "give y[:, 0]"
    else:
        hint = (
            "for several real values an example, give them as floats; "
            "for several labels an example (task=multilabel), give [N, K] of 0 and 1"
        )
    raise DataError(f"{split} targets: integer labels of shape {tuple(y.shape)}: expected [N]; {hint}.")


def zeros_and_ones(values: Tensor) -> bool:
    """Return whether a tensor holds 0 and 1 only."""
    return all(bool(((piece == 0) | (piece == 1)).all()) for _, piece in chunks(values))
