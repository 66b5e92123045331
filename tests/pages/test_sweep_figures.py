from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image
from tests.pages.test_sweep_report import HOSTILE
from tests.synthetic_sweep import make_sweep

from shoal.pages.sweep_figures import draw_many
from shoal.pages.sweep_view import view_of_sweep

METRIC = "valid.accuracy"


def drawn(runs: Path, grid: dict[str, Any], **how: Any) -> list[Path]:
    """The figures of a sweep whose runs have one metric."""
    sweep = make_sweep(runs, grid=grid, epochs=4, **how)
    for history in runs.glob("digits*/seed-*/history.jsonl"):
        rows = [json.loads(line) for line in history.read_text().splitlines()]
        kept = [{"step": row["step"], METRIC: row[METRIC]} for row in rows if METRIC in row]
        history.write_text("".join(json.dumps(row) + "\n" for row in kept))
    for record in runs.glob("digits*/seed-*/run.json"):
        if record.read_text().endswith("}"):
            known = json.loads(record.read_text())
            record.write_text(json.dumps({**known, "metrics": {METRIC: known["metrics"].get(METRIC)}}))
    return draw_many(view_of_sweep(runs, sweep), runs / "figures")


def test_every_figure_of_a_sweep_is_drawn_as_png_and_svg(tmp_path: Path) -> None:
    files = drawn(tmp_path, {"optimizer.lr": [0.01, 0.1], "model.norm": ["none", "batch"]}, seeds=2)
    names = {"parallel", f"curves_{METRIC}", *(f"{METRIC}_over_{what}" for what in ("lr", "norm", "lr_and_norm"))}
    assert {path.name for path in files} == {f"{name}.{ending}" for name in names for ending in ("png", "svg")}
    for path in files:
        if path.suffix == ".png":
            with Image.open(path) as image:
                colours = image.convert("RGB").getcolors(1 << 20)
                assert colours is not None
                assert len(colours) > 5


def test_figures_of_hostile_names_and_missing_results_are_drawn_too(tmp_path: Path) -> None:
    states = {(0, 0): "failed", (0, 1): "failed", (1, 0): "queued", (2, 0): "unreadable"}
    files = drawn(tmp_path, {"a.b": HOSTILE}, seeds=2, states=states)
    assert {path.parent for path in files} == {tmp_path / "figures"}
    assert f"{METRIC}_over_b.svg" in {path.name for path in files}


def test_a_queued_sweep_has_no_figures(tmp_path: Path) -> None:
    assert drawn(tmp_path, {"a": [1, 2]}, seeds=1, states={(0, 0): "queued", (1, 0): "queued"}) == []
