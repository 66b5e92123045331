"""The precisions of a recipe: what computes in 16 bits and what in 32, and whether a device can.

`fp32`  float32, products of matrices in full. Convolutions on a GPU are as torch has them: in TF32 by default.
`tf32`  float32, products and convolutions on a GPU with the 10 bits of mantissa of TensorFloat-32.
`bf16`, `fp16`  weights in float32; the operations that bear it compute in 16 bits (`torch.autocast`). fp16 needs a
        loss scale (`loss_scale`), since gradients below 6e-8 are 0 in it.
"""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

from shoal.errors import RecipeError
from shoal.training import probe

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
"""What autocast computes in under each precision of 16 bits."""

TF32_CAPABILITY = (8, 0)
"""The oldest generation of NVIDIA's GPUs, Ampere, that has TensorFloat-32."""

WITHOUT_AMX = "ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16"
"""What keeps torch from AMX, where it stands in the environment when the process starts."""


def autocasting(precision: Precision, device: torch.device) -> AbstractContextManager[object]:
    """Return the context under which a model's forward pass runs; for 32 bits it is none.

    Weights are cast each time that they are used. Autocast could keep what it cast, but a step that changes weights
    between two forward passes (SAM), or that is recorded, would go on with the old ones.
    """
    if precision not in HALVES:
        return nullcontext()
    return torch.autocast(device.type, HALVES[precision], cache_enabled=False)


def as_float32(outputs: Tensor) -> Tensor:
    """Return a model's outputs in float32 where they have 16 bits, for the loss and the metrics.

    On the GPU autocast takes softmax and its logarithm in float32; on the CPU it does not, and a loss made of them
    would have three digits. A loss outside of autocast, of outputs in float32, is the same everywhere.
    """
    return outputs.float() if outputs.dtype in HALVES.values() else outputs


@contextmanager
def matmul_precision(precision: Precision) -> Generator[None]:
    """Compute products of float32 matrices as the precision says, whatever the process had set, and put that back.

    By `torch.set_float32_matmul_precision`, which writes torch's older flags and its newer `fp32_precision` alike, and
    does not warn (2.10 to 2.13). Writing the newer alone makes reading the older an error, and Inductor reads them.
    """
    backends: Any = torch.backends
    places = (backends.cuda.matmul, backends.mkldnn.matmul, backends.cudnn.conv, backends.cudnn.rnn)
    newer = [(place, place.fp32_precision) for place in places]
    products, convolutions = _older_flags()
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    if precision == "tf32":
        backends.cudnn.allow_tf32 = True
    try:
        yield
    finally:
        if products is not None:
            torch.set_float32_matmul_precision(products)
        if convolutions is not None:
            backends.cudnn.allow_tf32 = convolutions
        for place, value in newer:
            place.fp32_precision = value


def _older_flags() -> tuple[str | None, bool | None]:
    """torch's older flags of products and convolutions; None where the newer ones say otherwise, and rule."""
    try:
        products = torch.get_float32_matmul_precision()
    except RuntimeError:
        products = None
    try:
        return products, torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return products, None


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raise RecipeError where a device cannot compute in a precision."""
    if precision == "tf32":
        _check_tf32(device)
    if precision in HALVES:
        wrong = _complaint(device, HALVES[precision])
        if wrong is not None:
            other = "fp16" if precision == "bf16" else "bf16"
            raise RecipeError(
                f"precision = {precision}: {name_of(device)} cannot compute in it: {wrong}. Choose precision=fp32, or "
                f"try {other}."
            )


def _check_tf32(device: torch.device) -> None:
    if device.type != "cuda":
        raise RecipeError(
            f"precision = tf32: {name_of(device)} has no TensorFloat-32: expected an NVIDIA GPU from Ampere on. Choose "
            "precision=fp32 or bf16, or another device."
        )
    major, minor = torch.cuda.get_device_capability(device)
    if (major, minor) < TF32_CAPABILITY:
        raise RecipeError(
            f"precision = tf32: {name_of(device)} has compute capability {major}.{minor}, which has no TensorFloat-32: "
            f"expected {TF32_CAPABILITY[0]}.{TF32_CAPABILITY[1]} (Ampere) or newer. Choose precision=fp32 or fp16."
        )


def name_of(device: torch.device) -> str:
    """Return what a person calls a device: "the CPU (x86_64, AVX512)", "cuda:0 (NVIDIA A100)"."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"  # on a GPU only
    if device.type == "cpu":
        return f"the CPU ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"
    return f"the GPU ({device}, {platform.machine()})"


@lru_cache
def _complaint(device: torch.device, dtype: torch.dtype) -> str | None:
    """What is wrong with 16 bits on a device, or None; tried once a process."""
    if device.type == "cpu" and _reports_amx():
        return _complaint_of_a_process(device, dtype)
    return probe.complaint(device, dtype)


def _reports_amx() -> bool:
    """Whether torch may use AMX here. In doubt it may."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is None or bool(supported())


def _complaint_of_a_process(device: torch.device, dtype: torch.dtype) -> str | None:
    """The probe's complaint in a process of its own, which takes two seconds and may die in the place of this one."""
    command = [sys.executable, "-P", probe.__file__, device.type, str(dtype).removeprefix("torch.")]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode == -signal.SIGILL:
        return (
            "the processor refuses an instruction that it reports to have (AMX), as some virtual machines do, and the "
            f"process would die. Set {WITHOUT_AMX} in the environment before you start"
        )
    return None if answer.returncode == 0 else answer.stderr.strip().rpartition("\n")[2]
