"""What regularisers and averages bring: the MNIST convnet with and without each, five seeds, mean and deviation.

Runs are kept in --runs and found again, so that a table can be completed later; accuracies do not depend on how fast
the machine is, so this may run beside other work.

    python bench/regularisers.py [--mnist DIR] [--runs runs/regularisers] [--seeds 5] [--json]
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

CASES: dict[str, list[str]] = {
    "none": [],
    "mixup 0.2": ["regularise.mixup=0.2"],
    "label smoothing 0.1": ["regularise.label_smoothing=0.1"],
    "EMA 0.995": ["average=ema", "average.decay=0.995"],
    "SWA from 2/3": ["average=swa", "average.start=0.667", "average.every=0.1", "average.lr=0.002"],
}
SHOWN = ("test.accuracy", "test_average.accuracy", "test.loss", "test_average.loss")


def main() -> None:
    """Train what is missing, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mnist", default="../shared/data/mnist")
    parser.add_argument("--runs", type=Path, default=Path("runs/regularisers"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from shoal.assembly import Screen, conduct
    from shoal.recipe.compose import compose
    from shoal.store import record

    found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
    for seed in range(arguments.seeds):  # all cases of a seed, then the next: an early look compares like with like
        for case, words in CASES.items():
            recipe = compose(
                "mnist_cnn", [f"dataset.path={arguments.mnist}", f"seed={seed}", "execution=eager", *words]
            )
            folder = conduct(recipe, runs=arguments.runs, screen=Screen(quiet=True))
            found[case].append(record.result(folder)["metrics"])
    for case, rows in found.items():
        report(case, rows, as_json=arguments.json)


def report(case: str, rows: list[dict[str, float]], *, as_json: bool) -> None:
    """Print the mean and deviation over seeds of each metric."""
    told = {}
    for name in SHOWN:
        values = [row[name] for row in rows if name in row]
        if values:
            told[name] = (statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0)
    if as_json:
        print(
            json.dumps({"case": case, "n": len(rows), **{name: list(pair) for name, pair in told.items()}}), flush=True
        )
        return
    cells = "  ".join(f"{name} {mean:.4f} +- {deviation:.4f}" for name, (mean, deviation) in told.items())
    print(f"{case:<20} n={len(rows)}  {cells}", flush=True)


if __name__ == "__main__":
    main()
