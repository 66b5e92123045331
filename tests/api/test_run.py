from __future__ import annotations

from pathlib import Path

import shoal


def test_a_run_shows_itself_in_a_notebook(tmp_path: Path) -> None:
    run = shoal.train("digits_mlp", {"budget.steps": 20}, runs=tmp_path, quiet=True)
    made = run._repr_html_()
    assert run.label in made
    assert f"{run.metrics['test.accuracy']:.4f}" in made
    assert "<svg" in made
    assert "<script" not in made
