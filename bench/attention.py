"""Time of the transformer's attention written with einsum against torch's fused kernel, forward and backward.

The two take turns, call by call, in one process; a repeat is many calls of each. The output says how far their results
differ, so that the times are those of the same thing.

    python bench/attention.py [--repeats 5] [--seconds 1] [--threads N] [--device cpu] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import torch

from shoal.models.gpt import einsum_attention, fused_attention

SHAPES = {
    "B32 T128 H4 D32": (32, 128, 4, 32),
    "B8 T64 H4 D16": (8, 64, 4, 16),
    "B8 T512 H8 D64": (8, 512, 8, 64),
    "B2 T1024 H8 D64": (2, 1024, 8, 64),
}
CONTENDERS = {"einsum": einsum_attention, "fused": fused_attention}


def once(attend, inputs, slopes) -> float:
    """Seconds of one forward and backward pass."""
    for value in inputs:
        value.grad = None
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
    began = time.perf_counter()
    attend(*inputs).backward(slopes)
    if inputs[0].is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - began


def repeat(shape, seconds: float, device: str) -> dict[str, float]:
    """Mean seconds a call of each, over turns that take `seconds` in all."""
    inputs = [torch.randn(shape, device=device, requires_grad=True) for _ in range(3)]
    slopes = torch.randn(shape, device=device)
    with torch.no_grad():
        off = (einsum_attention(*inputs) - fused_attention(*inputs)).abs().max().item()
    assert off < 1e-5, f"the two differ by {off}"
    for attend in CONTENDERS.values():
        once(attend, inputs, slopes)
    totals, calls, began = dict.fromkeys(CONTENDERS, 0.0), 0, time.perf_counter()
    while time.perf_counter() - began < seconds or calls < 3:
        for name, attend in CONTENDERS.items():
            totals[name] += once(attend, inputs, slopes)
        calls += 1
    return {name: total / calls for name, total in totals.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for case, shape in SHAPES.items():
        found = [repeat(shape, chosen.seconds, chosen.device) for _ in range(chosen.repeats)]
        ratios = [one["fused"] / one["einsum"] for one in found]
        for name in CONTENDERS:
            median = statistics.median(one[name] for one in found)
            ratio = 1.0 if name == "einsum" else statistics.median(ratios)
            row = {"case": case, "contender": name, "median": median, "ratio": ratio, "n": chosen.repeats}
            spread = statistics.stdev(ratios) if name == "fused" and len(ratios) > 1 else 0.0
            text = f"{case:<18} {name:<7} {1e3 * median:9.3f} ms   ratio {ratio:.3f} +- {spread:.3f}"
            print(json.dumps(row) if chosen.json else text, flush=True)


if __name__ == "__main__":
    main()
