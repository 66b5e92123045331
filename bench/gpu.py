"""What a GPU changes: time and memory of a step under each precision and execution, and that no step waits for it.

A small GPT on random text and a ResNet-18 on synthetic pictures of 224 pixels. Steps are timed by the wall clock around
many of them, the device being waited for at both ends; memory is the peak that torch allocated. With --syncs, 100 steps
run under `torch.cuda.set_sync_debug_mode("error")`, which raises at any wait.

    python bench/gpu.py [--device cuda] [--cases gpt,resnet] [--precisions fp32,tf32,bf16,fp16] [--executions eager,...]
                        [--batch 64] [--size 224] [--steps 30] [--syncs] [--json]
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from itertools import islice

REPEATS = 5


def workshop(case: str, precision: str, arguments: argparse.Namespace):
    """The pieces of a training on data that are made up."""
    import torch

    import shoal
    from shoal.assembly import Workshop, from_python
    from shoal.recipe import parse

    keys = {
        "precision": precision,
        "device": arguments.device,
        "budget": {"steps": 100_000},
        "evaluate": {"every": 50_000},
    }
    if case == "gpt":
        letters = random.Random(0).choices("abcdefghijklmnopqrstuvwxyz     ", k=300_000)
        dataset = shoal.text("".join(letters), context=128)
        keys |= {"model": {"name": "gpt"}, "task": "language_modelling", "optimizer": {"name": "adamw", "lr": 1e-3}}
        keys |= {"batch_size": arguments.batch}
    else:
        count, size = 4 * arguments.batch, arguments.size
        dataset = {
            split: (torch.randn(count, 3, size, size), torch.arange(count) % 100) for split in ("train", "valid")
        }
        keys |= {"model": {"name": "resnet", "depth": 18}, "optimizer": {"name": "sgd", "lr": 0.1}}
        keys |= {"batch_size": arguments.batch}
    parts, objects = from_python(dataset=dataset)
    return Workshop(parse({**keys, **parts}), objects)


def timed(work, execution: str, arguments: argparse.Namespace) -> dict:
    """Milliseconds a step, and the peak of memory in MiB."""
    import torch

    from shoal.datasets import START
    from shoal.training.plan import Plan
    from shoal.training.precision import matmul_precision

    cuda = work.device.type == "cuda"
    with matmul_precision(work.recipe.precision):
        said: list[str] = []
        began = time.perf_counter()
        step = work.stepping.step(execution, said.append)
        prepare = time.perf_counter() - began
        engine = work.engine(Plan("solo", execution, str(work.device), 1, str(torch.__version__)), step)
        rows = iter(engine.upload(work.hypers.block(0, 1000)))
        batches = work.batches.start(START)

        def perform(count: int) -> None:
            for batch, row in zip(islice(batches, count), islice(rows, count), strict=True):
                engine.step(batch, row)

        perform(5)
        if cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        if arguments.syncs and cuda:
            torch.cuda.set_sync_debug_mode("error")
            perform(100)
            torch.cuda.set_sync_debug_mode("default")
        taken = []
        for _ in range(REPEATS):
            began = time.perf_counter()
            perform(arguments.steps)
            if cuda:
                torch.cuda.synchronize()
            taken.append((time.perf_counter() - began) / arguments.steps)
        peak = torch.cuda.max_memory_allocated() / 2**20 if cuda else float("nan")
        (metrics,) = engine.drain()
    return {
        "milliseconds": statistics.median(taken) * 1e3,
        "prepare": prepare,
        "peak": peak,
        "loss": metrics["loss"],
        "ran": step.execution,
        "said": said,
    }


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--cases", default="gpt,resnet")
    parser.add_argument("--precisions", default="fp32,tf32,bf16,fp16")
    parser.add_argument("--executions", default="eager,captured,compiled")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--syncs", action="store_true")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from shoal.errors import ShoalError

    for case in arguments.cases.split(","):
        for precision in arguments.precisions.split(","):
            for execution in arguments.executions.split(","):
                try:
                    found = timed(workshop(case, precision, arguments), execution, arguments)
                except ShoalError as error:
                    print(f"{case:<7} {precision:<5} {execution:<9} {error}", flush=True)
                    continue
                if arguments.json:
                    contender = f"{precision} {execution}"
                    print(json.dumps({"case": case, "contender": contender, "n": REPEATS, **found}), flush=True)
                    continue
                told = f"{found['milliseconds']:8.2f} ms a step  {found['peak']:8.0f} MiB"
                told += f"  prepare {found['prepare']:.1f} s"
                ran = "" if found["ran"] == execution else f"  ran {found['ran']}: {found['said'][0]}"
                print(f"{case:<7} {precision:<5} {execution:<9} {told}  loss {found['loss']:.4f}{ran}", flush=True)


if __name__ == "__main__":
    main()
