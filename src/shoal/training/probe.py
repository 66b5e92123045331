"""Tries whether a device computes in 16 bits: a linear layer and a convolution, forward and backward, under autocast.

It imports torch alone, so that it also runs as a process of its own, `python -P probe.py cpu bfloat16`, whose end says
what happened: some virtual machines report matrix instructions (AMX) that their processor then refuses, and torch ends
with the whole process. Nothing random is drawn.
"""

from __future__ import annotations

import sys
import warnings

import torch
import torch.nn.functional as F

SIZE = 64
"""Rows and columns of the products: smaller ones do not reach the kernels that training uses."""


def complaint(device: torch.device, dtype: torch.dtype) -> str | None:
    """Return what went wrong, or None."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # where autocast switches itself off it says so, and so do we
            return _tried(device, dtype)
    except (RuntimeError, TypeError) as error:
        return str(error).strip().partition("\n")[0]


def _tried(device: torch.device, dtype: torch.dtype) -> str | None:
    x_BC = _spread(SIZE, SIZE, device=device)
    x_BCHW = _spread(4, 16, 8, 8, device=device)
    weights = [_spread(SIZE, SIZE, device=device), _spread(32, 16, 3, 3, device=device)]
    for weight in weights:
        weight.requires_grad_()
    with torch.enable_grad(), torch.autocast(device.type, dtype, cache_enabled=False):
        results = [F.linear(x_BC, weights[0]), F.conv2d(x_BCHW, weights[1])]
    if any(result.dtype != dtype for result in results):
        return f"torch's autocast leaves its numbers in {str(results[0].dtype).removeprefix('torch.')}"
    gradients = torch.autograd.grad([result.float().square().mean() for result in results], weights)
    finite = all(bool(value.isfinite().all()) for value in (*results, *gradients))
    return None if finite else "results are not finite"


def _spread(*shape: int, device: torch.device) -> torch.Tensor:
    numbers = torch.Size(shape).numel()
    return torch.linspace(-1, 1, numbers, device=device).view(shape)


if __name__ == "__main__":
    sys.exit(complaint(torch.device(sys.argv[1]), getattr(torch, sys.argv[2])))
