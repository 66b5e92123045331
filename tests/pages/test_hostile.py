"""Values that no training writes, in the record and the journals: every page is made, and nothing fills the memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from tests.limited import limited, needs_limits
from tests.pages.test_run_page import FACTS
from tests.pages.test_sample_files import CLASSES
from tests.synthetic import make_run

from shoal.analysis import of_runs
from shoal.cli.ls import Choice, select
from shoal.errors import InputError
from shoal.pages.blocks import plain
from shoal.pages.chosen import Item
from shoal.pages.comparison import compared
from shoal.pages.comparison_blocks import Comparison
from shoal.pages.notebook import run_html, runs_html
from shoal.pages.report import report
from shoal.pages.run_page import run_page
from shoal.pages.runs_table import runs_grid, usual_metrics
from shoal.pages.sweep_report import sweep_report
from shoal.pages.sweep_view import view_of
from shoal.store import RunFolder, summaries

HUGE = 10**400
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=6)
    | st.sampled_from([HUGE, -HUGE, 1e308]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
COLUMNS = st.sampled_from(["step", "epoch", "lr", "train.loss", "valid.loss", "valid.accuracy", "test.loss", ".", "a."])
ROWS = st.lists(st.dictionaries(COLUMNS | st.text(max_size=5), VALUES, max_size=5), max_size=6)
KEYS = sorted(
    {*FACTS, "name", "metrics", "reason", "steps", "total_steps", "said", "times", "identity", "host", "guard"}
)


def pages(folder: RunFolder) -> list[str]:
    """Return every page that shows the run."""
    every = summaries(folder.path.parents[1])
    chosen = select(every, Choice())
    listed = plain([runs_grid(chosen, usual_metrics(chosen))])
    shown = [report(folder), run_html(folder), runs_html(every), *listed, *plain(run_page(folder))]
    return [*shown, *pages_of_many(folder)]


def pages_of_many(folder: RunFolder) -> list[str]:
    """Return what compares the run with one that is as it should be."""
    other = make_run(folder.path.parents[1], "other", history=3, metrics={"valid.loss": 1.0, "test.accuracy": 0.5})
    experiments = of_runs([folder, other])
    both = [Item(letter, one) for letter, one in zip("AB", experiments, strict=True)]
    try:
        comparison = Comparison(compared(both))
    except InputError as error:
        return [str(error), sweep_report(view_of("both", experiments))]
    return [sweep_report(view_of("both", experiments)), repr(comparison), comparison._repr_html_()]


@given(rows=ROWS, facts=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=3))
@example(rows=[{"step": HUGE, "train.loss": HUGE}, {"step": float("inf"), "train.loss": 1}], facts={"epochs": HUGE})
@example(
    rows=[{"step": 1, "lr": -HUGE, "epoch": HUGE}], facts={"seconds": HUGE, "steps": HUGE, "metrics": {"a.b": HUGE}}
)
@example(rows=[{"step": 1e308, "valid.loss": 1}, {"step": -1e308, "valid.loss": 2}], facts={"times": {"a": HUGE}})
def test_any_value_in_the_place_of_another_breaks_no_page(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], facts: dict[str, Any]
) -> None:
    folder = make_run(tmp_path_factory.mktemp("runs"))
    folder.record.write_text(json.dumps(json.loads(folder.record.read_text()) | FACTS | facts))
    for journal in (folder.history, folder.timing):
        journal.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "<h2>Curves</h2>" in pages(folder)[0]


@needs_limits
@pytest.mark.parametrize(
    "told", [{"classes": 10**12, "labels": None, "confusion": None}, {"classes": 10**400}, {"classes": float("inf")}]
)
def test_samples_that_claim_a_trillion_classes_fill_no_memory(told: dict[str, Any], tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.samples.mkdir()
    (folder.samples / "samples.json").write_text(json.dumps({**CLASSES, **told}))
    outcome = limited(lambda: pages(folder))
    assert outcome.error == "", outcome
    assert "The samples of this run cannot be shown" in report(folder)
