"""The page of a sweep of 200 runs: seconds to make it, its size, and how soon a browser has it ready to be used.

The runs are synthetic, of the shape that `shoal train` leaves: 8 learning rates, 5 widths, 5 seeds, each with a history
of 400 rows of five metrics. `shoal report` and `shoal compare` are timed as processes. Where Chromium is installed,
it opens the page headless; the time is from the start of the navigation to the end of the page's script, which is when
every view is drawn and answers, as the page itself writes it down.

    python bench/report.py [--repeats 5] [--rows 400] [--json]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

LIMITS = {"page": 3.0, "interactive": 2.0}


def timed(command: list[str], folder: Path) -> float:
    """Run a command in a folder; return its seconds."""
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, capture_output=True, check=True)
    return time.perf_counter() - began


def interactive(chromium: str, page: Path) -> float:
    """Open a page; return the seconds after which it was ready, by its own clock."""
    with tempfile.TemporaryDirectory() as profile:
        options = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={profile}",
            "--window-size=1200,900",
        ]
        command = [chromium, *options, "--dump-dom", page.as_uri()]
        dom = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    found = re.search(r'<body[^>]*data-ready="(\d+)"', dom)
    if found is None:
        raise SystemExit("the page did not become ready")
    return int(found[1]) / 1000


def measured(case: str, unit: str, values: list[float]) -> dict:
    """A row of the table."""
    limit = {"limit": LIMITS[case]} if case in LIMITS else {}
    return {"case": case, "contender": "shoal", "median": statistics.median(values), "unit": unit, "n": len(values),
            "least": min(values), "most": max(values), **limit}  # fmt: skip


def rows(folder: Path, repeats: int) -> list[dict]:
    """Measure everything."""
    shoal, page = [sys.executable, "-m", "shoal"], folder / "page.html"
    commands = {"report": [*shoal, "report", "grid", "-o", str(page)], "compare": [*shoal, "compare", "grid"]}
    done = [measured(case, "s", repeated(repeats, lambda c=c: timed(c, folder))) for case, c in commands.items()]
    done.append(measured("page", "MB", [page.stat().st_size / 1e6]))
    chromium = next(
        (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
    )
    if chromium is None:
        print("interactive: skipped, there is no chromium", file=sys.stderr)
    else:
        done.append(measured("interactive", "s", repeated(repeats, lambda: interactive(chromium, page))))
    return done


def repeated(repeats: int, what: Callable[[], float]) -> list[float]:
    """Measure once uncounted, then as often as is asked."""
    what()
    return [what() for _ in range(repeats)]


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=400, help="rows of each history")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    from tests.synthetic_sweep import make_sweep

    with tempfile.TemporaryDirectory() as place:
        make_sweep(Path(place) / "runs", epochs=arguments.rows)
        for row in rows(Path(place), arguments.repeats):
            limit = f"  (limit {row['limit']:g})" if "limit" in row else ""
            text = (
                f"{row['case']:<12} {row['median']:.2f} {row['unit']}  {row['least']:.2f} to {row['most']:.2f}{limit}"
            )
            print(json.dumps(row) if arguments.json else f"{text}  n={row['n']}", flush=True)


if __name__ == "__main__":
    main()
