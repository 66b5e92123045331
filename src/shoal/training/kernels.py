"""The kernels of a compiled step, and the time of each: what inductor wrote, and the library calls that are left.

A CPU's kernels announce themselves to torch's profiler, where they were compiled to (on Linux); a GPU's are measured by
the device.
The names of generated kernels are read from inductor's source, which it hands to whoever asks, cached or not.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from statistics import median
from typing import Any, cast

import torch
from torch._C._autograd import DeviceType
from torch._ops import OpOverload
from torch.profiler import ProfilerActivity, profile

from shoal.training.capture import VIEWS

STEPS = 20
WARM_UP = 3
GENERATED = re.compile(r"^(?P<name>\w+) = async_compile\.", re.MULTILINE)
GRAPH = re.compile(r"^graph_\d+_")
"""What a kernel's name begins with for the profiler: a step is one graph, and each branch of a `torch.cond` another."""
LOOKS = frozenset(cast(Any, view).__name__.partition(".")[0] for view in VIEWS if isinstance(view, OpOverload))
"""Operations that are no work in a kernel, only another way to address memory."""


@dataclass(frozen=True)
class Kernel:
    """One kernel or library call: how often a step calls it, and seconds a step; None where neither is known.

    `operations` are those that a generated kernel fuses, as far as its name tells: each once, in no order.
    """

    name: str
    generated: bool
    operations: tuple[str, ...]
    calls: float | None
    seconds: float | None


@contextmanager
def observed() -> Generator[list[str]]:
    """Let steps that are compiled in the block be measured kernel by kernel; yield a list that gets their source."""
    config: Any = importlib.import_module("torch._inductor.config")
    lowering: Any = importlib.import_module("torch._inductor.graph").GraphLowering
    sources: list[str] = []
    before: Any = lowering.save_output_code
    lowering.save_output_code = sources.append
    try:
        with config.patch({"cpp.enable_kernel_profile": True}):  # off duty it costs some nanoseconds a kernel
            yield sources
    finally:
        lowering.save_output_code = before


def kernels(perform: Callable[[int], None], sources: Sequence[str], device: torch.device) -> list[Kernel]:
    """Return the kernels of a step that was compiled while `observed`, the longest first; `perform` takes numbers."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # else the profiler's library writes to stderr
    for number in range(WARM_UP):
        perform(number)
    gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]) as profiler:
        for number in range(STEPS):
            perform(number)
        if gpu:
            torch.cuda.synchronize(device)
    named = list(dict.fromkeys(name for source in sources for name in generated(source)))
    events: Any = profiler.events()
    spent = (on_device if gpu else on_host)(events, frozenset(named))
    found = [
        Kernel(name, name in named, fused(name) if name in named else (), len(times) / STEPS, a_step(times, STEPS))
        for name, times in spent.items()
    ]
    none = 0.0 if any(name in spent for name in named) else None  # a branch that was not taken, or no times at all
    silent = [Kernel(name, True, fused(name), none, none) for name in named if name not in spent]
    return sorted(found, key=lambda kernel: -(kernel.seconds or 0.0)) + silent


def generated(source: str) -> list[str]:
    """Return the names of the kernels that inductor wrote."""
    return [found["name"] for found in GENERATED.finditer(source)]


def a_step(times: Sequence[float], steps: int) -> float:
    """Return the seconds a step of calls in their order: the median of the steps, where each made as many.

    >>> a_step([1.0, 2.0, 1.0, 2.0, 9.0, 2.0], 3)
    3.0
    """
    each, left = divmod(len(times), steps)
    if left:
        return sum(times) / steps
    return median(sum(times[at * each : (at + 1) * each]) for at in range(steps))


def on_host(events: Sequence[Any], named: frozenset[str]) -> dict[str, list[float]]:
    """Return the seconds of every call, by name: of generated kernels and of operations that are not part of one."""
    spent: dict[str, list[float]] = {}
    waiting = [event for event in events if event.cpu_parent is None]
    while waiting:
        event = waiting.pop(0)
        name = GRAPH.sub("", event.name)
        if name in named or "::" in name:
            spent.setdefault(name, []).append(event.cpu_time_total * 1e-6)
        else:
            waiting += event.cpu_children
    return spent


def on_device(events: Sequence[Any], named: frozenset[str]) -> dict[str, list[float]]:
    """Return the seconds of everything that a GPU did, by name."""
    spent: dict[str, list[float]] = {}
    for event in events:
        if event.device_type == DeviceType.CUDA:
            own = max((name for name in named if event.name.startswith(name)), key=len, default=event.name)
            spent.setdefault(own, []).append(event.device_time_total * 1e-6)
    return spent


def fused(name: str) -> tuple[str, ...]:
    """Return the operations in the name of a generated kernel; views are left out.

    >>> fused("cpp_fused__log_softmax_add_nll_loss_forward_view_3")
    ('_log_softmax', 'add', 'nll_loss_forward')
    """
    _, found, rest = name.partition("fused_")
    operations = _divided(re.sub(r"_\d+$", "", rest), "") if found else None
    return tuple(operation for operation in operations or () if operation not in LOOKS)


def _divided(text: str, after: str) -> list[str] | None:
    """Divide names that were sorted and joined by `_`, and have it in them, into those of torch's operations."""
    if not text:
        return []
    ends = [at for at, letter in enumerate(text) if letter == "_" and at] + [len(text)]
    for end in reversed(ends):  # the longest name first
        name = text[:end]
        if name > after and name in _known():
            rest = _divided(text[end + 1 :], name)
            if rest is not None:
                return [name, *rest]
    return None


@lru_cache(maxsize=1)
def _known() -> frozenset[str]:
    """The names of all operations that torch has."""
    names: list[str] = torch._C._dispatch_get_all_op_names()  # pyright: ignore[reportPrivateUsage]
    return frozenset(name.partition("::")[2].partition(".")[0] for name in names)
