from __future__ import annotations

import csv
import math
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet
from tests.synthetic import make_run

from shoal.errors import ExportError, StoreError
from shoal.pages.export_many import Tables, write_tables
from shoal.pages.run_rows import names_of, row_of
from shoal.recipe import flat, parse
from shoal.store import RunFolder, RunId, create, notes, read_journal


def made(runs: Path, lr: float, seed: int = 0, **metrics: float) -> RunFolder:
    folder = make_run(runs, f"lr{lr}", seed, metrics=metrics, history=3)
    recipe = parse({"name": f"lr{lr}", "seed": seed, "optimizer": {"name": "sgd", "lr": lr}, "deterministic": lr > 0.2})
    folder.recipe.write_text(recipe.to_yaml())
    return folder


@pytest.fixture
def folders(tmp_path: Path) -> list[RunFolder]:
    """Two experiments of one and two seeds, a run that has not begun, and one whose record is damaged."""
    runs = tmp_path / "runs"
    good = [made(runs, 0.1), *(made(runs, 0.3, seed, **{"test.accuracy": 0.1 + 0.2}) for seed in (0, 1))]
    notes.change(good[0], add=["=1+1", "good"], note="-text")
    queued = create(runs, RunId("queued", "0" * 32, 0))
    damaged = make_run(runs, "damaged", history=2)
    damaged.record.write_text('{"format": 9}')
    return [*good, queued, damaged]


def read_csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_table_has_a_row_a_run_in_csv_and_in_parquet(folders: list[RunFolder], tmp_path: Path) -> None:
    for ending in ("csv", "parquet"):
        write_tables(folders, Tables(table=tmp_path / f"t.{ending}"), flat.read)
    rows = [row_of(folder, flat.read) for folder in folders]
    table = parquet.read_table(tmp_path / "t.parquet").to_pydict()
    assert list(table) == names_of(rows)
    texts = read_csv(tmp_path / "t.csv")
    assert [row["run"] for row in texts] == table["run"] == [folder.label for folder in folders]
    assert table["optimizer.lr"] == [0.1, 0.3, 0.3, None, None]
    assert table["deterministic"] == [False, True, True, None, None]
    assert table["status"] == ["finished"] * 3 + ["queued", "unreadable"]
    assert [row["test.accuracy"] for row in texts] == ["", repr(0.1 + 0.2), repr(0.1 + 0.2), "", ""]
    assert (texts[0]["tags"], texts[0]["note"], texts[1]["tags"]) == ("'=1+1,good", "'-text", "")
    assert list(texts[0])[-1] == "test.accuracy"


def test_histories_are_long(folders: list[RunFolder], tmp_path: Path) -> None:
    for ending in ("csv", "parquet"):
        write_tables(folders, Tables(histories=tmp_path / f"h.{ending}"), flat.read)
    table = parquet.read_table(tmp_path / "h.parquet").to_pydict()
    assert list(table)[:4] == ["run", "seed", "step", "epoch"]
    assert table["run"] == [folder.label for folder in folders[:3] for _ in range(3)]
    assert table["seed"] == [0] * 6 + [1] * 3
    assert table["valid.loss"][:3] == [row["valid.loss"] for row in read_journal(folders[0].history)[0]]
    assert len(read_csv(tmp_path / "h.csv")) == 9


def hiplot(path: Path) -> list[dict[str, Any]]:
    """What `hiplot.Experiment.from_csv` (0.1.33) makes of a file: uid, from_uid, values."""
    return [
        {
            "uid": str(row["uid"]),
            "from_uid": row["from_uid"] or None,
            "values": {key: value for key, value in row.items() if key not in ("uid", "from_uid")},
        }
        for row in read_csv(path)
    ]


def test_hiplot_gets_what_varies_and_metrics(folders: list[RunFolder], tmp_path: Path) -> None:
    write_tables(folders, Tables(hiplot=tmp_path / "p.csv"), flat.read)
    points = hiplot(tmp_path / "p.csv")
    assert [point["uid"] for point in points] == [folder.label for folder in folders]
    assert {point["from_uid"] for point in points} == {None}
    assert set(points[0]["values"]) == {"seed", "status", "deterministic", "optimizer.lr", "test.accuracy"}
    assert [point["values"]["optimizer.lr"] for point in points] == ["0.1", "0.3", "0.3", "", ""]


def test_nothing_to_be_written_writes_nothing(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs")
    with pytest.raises(StoreError, match="none of the 1 runs has a history yet"):
        write_tables([folder], Tables(histories=tmp_path / "h.csv", table=tmp_path / "t.csv"), flat.read)
    with pytest.raises(ExportError, match=r"cannot write .*No such file"):
        write_tables([folder], Tables(table=tmp_path / "none" / "t.csv"), flat.read)
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_metric_that_is_no_number_is_empty(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "runs", metrics={"test.loss": math.nan})
    write_tables([folder], Tables(table=tmp_path / "t.csv"), flat.read)
    assert read_csv(tmp_path / "t.csv")[0]["test.loss"] == ""
