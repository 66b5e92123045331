"""The plan: what was decided for this machine. It is recorded with the run, and resuming repeats it.

Results are bit-identical under one plan; another number of threads or another device sums in another order.
"""

from __future__ import annotations

import platform
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Plan:
    """Engine, execution, device, threads, torch, runs trained together, layout of pictures, and what computes."""

    engine: str
    execution: str
    device: str
    threads: int
    torch: str
    width: int = 1
    channels_last: bool = False
    hardware: str = ""

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """Return what differs from a recorded plan, each as 'device cuda:0 -> cpu'."""
        now = asdict(self)
        return [f"{key} {recorded[key]} -> {now[key]}" for key in now if key in recorded and recorded[key] != now[key]]


def hardware(device: torch.device) -> str:
    """Return what a device is, by which its kernels are chosen: 'x86_64 AVX512', 'NVIDIA A100-SXM4-80GB'."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def decide(device: torch.device, *, execution: str, recorded: Mapping[str, Any] | None = None) -> Plan:
    """Return the plan for a run on this machine, repeating a recorded number of threads.

    Threads are set for the whole process, since torch has no other way: `threads_kept` is around it.
    """
    threads = torch.get_num_threads()
    if recorded and isinstance(recorded.get("threads"), int):
        threads = int(recorded["threads"])
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)
    return Plan(
        engine="solo",
        execution=execution,
        device=str(device),
        threads=threads,
        torch=str(torch.__version__),
        hardware=hardware(device),
    )


@contextmanager
def threads_kept() -> Generator[None]:
    """Give the process the number of torch's threads that it had: a plan's is for its run alone."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
