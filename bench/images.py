"""Images per second: Shoal's training loop against a loop written by hand, its input pipeline against a DataLoader.

`train` is the preset cifar10_resnet on some of its pictures: both contenders have the same decoded pictures, the same
model, optimizer and metrics, and take turns of a twentieth of a second, each in its own process. `input` is batches
alone, shuffled and normalised: Shoal's from its memory map against a DataLoader that opens and decodes the same files
with pillow, with 0 and 2 workers, one after the other in each repeat. What Shoal decodes once, before, is not in
`input`; it is in `first_use`, against an epoch of the DataLoader without workers.

The median is images a second, the ratio that of medians to the first contender of the case: higher is better.

    python bench/images.py [--repeats 5] [--cases train,input,first_use] [--steps 60] [--files 10000] [--threads N]
                           [--pictures TAR] [--json]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from step import Turns, by_hand, by_shoal, until_turn

BATCH = 128
SAVE_STEPS = 20  # about three seconds of one's own turns: the clock, which saves otherwise, counts the other's as well
SECONDS = 2.0  # of one measurement of `input`, at least
CASES = ("train", "input", "first_use")


def workshop(folder: Path, steps: int):
    """Shoal's own pieces: the hand-written loop borrows data, model and optimizer from them."""
    from shoal.assembly import Workshop
    from shoal.recipe.compose import compose

    words = [f"dataset.path={folder}", "dataset.valid=512", f"budget.steps={steps}", f"evaluate.every={steps}"]
    words += [f"checkpoint.every={SAVE_STEPS}"]
    return Workshop(compose("cifar10_resnet", words))


def measure(contender: str, folder: Path, arguments: argparse.Namespace) -> None:
    """One measurement of `train`, in this process: prints images a second."""
    set_threads(arguments.threads)
    work, turns = workshop(folder, arguments.steps), Turns()
    (by_hand if contender == "hand" else by_shoal)(work, arguments.steps, turns)
    print(f"RESULT {arguments.steps * work.recipe.batch_size / turns.seconds}", flush=True)


def train(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield images a second of each contender, from two processes that take turns, repeat by repeat."""
    command = [sys.executable, __file__, "--steps", str(arguments.steps), "--threads", str(arguments.threads)]
    workshop(folder, 1).data  # noqa: B018  decoded and kept now, not while the contenders run
    for repeat in range(arguments.repeats):
        order = ("hand", "shoal")[:: 1 if repeat % 2 == 0 else -1]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        waiting = {name: subprocess.Popen([*command, "--measure", name, str(folder)], **pipes) for name in order}
        for process in waiting.values():
            until_turn(process)
        while waiting:
            for name, process in list(waiting.items()):
                process.stdin.write("go\n")
                process.stdin.flush()
                rate = until_turn(process)
                if rate is not None:
                    process.communicate()
                    del waiting[name]
                    yield name, rate


class Files:
    """The map-style Dataset that one would write: a picture is opened, decoded and normalised when it is asked for."""

    def __init__(self, folder: Path, normalisation) -> None:
        self.files = sorted(folder.glob("*/*.jpg"))
        names = sorted({file.parent.name for file in self.files})
        self.labels = [names.index(file.parent.name) for file in self.files]
        self.mean, self.deviation = normalisation.mean, normalisation.deviation

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int):
        import numpy as np
        import torch
        from PIL import Image

        with Image.open(self.files[index]) as image:
            pixels = torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        return (pixels - self.mean) / self.deviation, self.labels[index]


def some_files(arguments: argparse.Namespace, folder: Path) -> Path:
    """Unpack some of the train pictures, as many of each class."""
    with tarfile.open(arguments.pictures) as tar:
        names = sorted(name for name in tar.getnames() if name.startswith("train/") and name.endswith(".jpg"))
        wanted = set(names[:: max(1, len(names) // arguments.files)])
        tar.extractall(folder, (member for member in tar if member.name in wanted), filter="data")
    return folder / "train"


def data_of(folder: Path):
    """Shoal's data of a folder, decoded now where that was not done before."""
    from shoal.datasets import build
    from shoal.recipe.parts import ImageFolder

    return build(ImageFolder(path=str(folder), valid=0))


def rate_of(batches: Iterator[int]) -> float:
    """Images a second of batches, of which the first is not counted: workers start with it."""
    next(batches)
    count, began = 0, time.perf_counter()
    for size in batches:
        count += size
        if time.perf_counter() - began > SECONDS:
            break
    return count / (time.perf_counter() - began)


def shoal_batches(data) -> Iterator[int]:
    from shoal.datasets import batches

    made = batches(
        data.splits["train"],
        batch_size=BATCH,
        seed=0,
        drop_last=True,
        device="cpu",
        normalisation=data.normalisation,
        training=True,
    )
    return (batch.size for batch in made.start())


def loader_batches(files: Files, workers: int) -> Iterator[int]:
    from torch.utils.data import DataLoader

    loader = DataLoader(files, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=workers)
    while True:
        for inputs, _ in loader:
            yield len(inputs)


def input_alone(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield images a second of each contender in turn, repeat by repeat."""
    data = data_of(folder)
    files = Files(folder, data.normalisation)
    contenders: dict[str, Callable[[], Iterator[int]]] = {
        "loader-0": lambda: loader_batches(files, 0),
        "loader-2": lambda: loader_batches(files, 2),
        "shoal": lambda: shoal_batches(data),
    }
    for _ in range(arguments.repeats):
        for name, start in contenders.items():
            yield name, rate_of(start())


def first_use(arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, float]]:
    """Yield images a second of Shoal's decoding, with all that it checks and writes, and of a DataLoader's epoch."""
    files = Files(folder, data_of(folder).normalisation)
    for _ in range(arguments.repeats):
        began = time.perf_counter()
        count = sum(size for size, _ in zip(loader_batches(files, 0), range(len(files) // BATCH), strict=False))
        yield "loader-0", count / (time.perf_counter() - began)
        with tempfile.TemporaryDirectory() as cache:
            os.environ["SHOAL_CACHE"] = cache
            began = time.perf_counter()
            data_of(folder)
            yield "shoal", len(files) / (time.perf_counter() - began)


def set_threads(threads: int) -> None:
    import torch

    if threads:
        torch.set_num_threads(threads)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--steps", type=int, default=60, help="of `train`")
    parser.add_argument("--files", type=int, default=10_000, help="pictures of train to do it with")
    parser.add_argument("--pictures", default="../shared/data/cifar10-jpeg.tar.xz")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--measure", nargs=2, metavar=("CONTENDER", "FOLDER"))
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]), arguments)
        return
    if not Path(arguments.pictures).is_file():
        sys.exit(f"there is no file {arguments.pictures}: say where CIFAR-10's pictures are with --pictures TAR")
    set_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["SHOAL_CACHE"] = f"{scratch}/cache"
        folder = some_files(arguments, Path(scratch))
        measured = {"train": train, "input": input_alone, "first_use": first_use}
        for case in arguments.cases.split(","):
            report(case, measured[case](arguments, folder), arguments)


def report(case: str, rates: Iterator[tuple[str, float]], arguments: argparse.Namespace) -> None:
    """Print a case as rows of the table, or as one JSON object a contender."""
    found: dict[str, list[float]] = {}
    for contender, rate in rates:
        found.setdefault(contender, []).append(rate)
    first = "hand" if case == "train" else "loader-0"
    for contender in sorted(found, key=lambda name: (name != first, name)):
        taken = found[contender]
        median, ratio = statistics.median(taken), statistics.median(taken) / statistics.median(found[first])
        if arguments.json:
            row = {"case": case, "contender": contender, "median": median, "ratio": ratio, "n": len(taken)}
            print(json.dumps(row), flush=True)
            continue
        pairs = [mine / other for mine, other in zip(taken, found[first], strict=True)]
        deviation = statistics.stdev(pairs) if len(pairs) > 1 else 0.0
        spread = f"{min(taken):,.0f}-{max(taken):,.0f}"
        rate = f"{median:10,.0f} images/s  {spread:>17}"
        print(f"{case:<10} {contender:<9} {rate}  ratio {ratio:7.3f} +- {deviation:.3f}  n={len(taken)}", flush=True)


if __name__ == "__main__":
    main()
