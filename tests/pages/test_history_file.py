from __future__ import annotations

import csv
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet
from tests.synthetic import make_run

from shoal.errors import ExportError, StoreError
from shoal.pages.history_file import as_csv, columns, write_history
from shoal.store import Journal, RunFolder, read_journal


def with_gaps(runs: Path) -> RunFolder:
    folder = make_run(runs, history=3)
    with Journal(folder.history) as journal:
        journal.append({"step": 4, "epoch": 1.0, "train.loss": float("nan"), "test.accuracy": 0.1 + 0.2})
    return folder


def test_csv_is_read_back_to_the_same_numbers(tmp_path: Path) -> None:
    folder = with_gaps(tmp_path)
    write_history(folder, tmp_path / "h.csv")
    header, *rows = csv.reader((tmp_path / "h.csv").read_text().splitlines())
    assert header[:2] == ["step", "epoch"]
    assert header[-1] == "test.accuracy"
    found = [{name: float(cell) for name, cell in zip(header, row, strict=True) if cell} for row in rows]
    known = [
        {name: value for name, value in row.items() if value is not None} for row in read_journal(folder.history)[0]
    ]
    assert found == known
    assert rows[0][0] == "1"


def test_parquet_has_the_same_columns_with_types(tmp_path: Path) -> None:
    folder = with_gaps(tmp_path)
    write_history(folder, tmp_path / "h.parquet")
    table = parquet.read_table(tmp_path / "h.parquet")
    assert table.to_pydict() == columns(read_journal(folder.history)[0])
    types = {field.name: str(field.type) for field in table.schema}
    assert (types["step"], types["epoch"], types["test.accuracy"]) == ("int64", "double", "double")


def test_a_column_of_anything_becomes_text_in_parquet(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with Journal(folder.history) as journal:
        journal.append({"step": 1, "note": "text", "lr": 1, "flag": None})
        journal.append({"step": 2, "note": 0.5, "lr": 0.5})
    write_history(folder, tmp_path / "h.parquet")
    table = parquet.read_table(tmp_path / "h.parquet").to_pydict()
    assert table == {"step": [1, 2], "note": ["text", "0.5"], "lr": [1.0, 0.5], "flag": [None, None]}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_text_that_would_be_a_formula_is_none(text: str) -> None:
    (header, row) = list(csv.reader(as_csv({text: [text]}).splitlines()))
    assert header == row == [f"'{text}"]


def test_a_carriage_return_ends_no_row() -> None:
    assert as_csv({"a\r=1+1": ["\r=1", "\ud800"]}) == "a\\x0d=1+1\n\\x0d=1\n\\ud800\n"


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**60), 2**60), min_size=1))
def test_numbers_are_never_quoted(values: list[float]) -> None:
    _, *rows = as_csv({"x": values}).splitlines()
    assert [type(value)(row) for row, value in zip(rows, values, strict=True)] == values


def test_a_run_without_history_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has no history yet: train it first"):
        write_history(make_run(tmp_path), tmp_path / "h.csv")
    assert not (tmp_path / "h.csv").exists()


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_folder_that_is_not_there_is_said(tmp_path: Path, ending: str) -> None:
    with pytest.raises(ExportError, match=r"cannot write .*No such file or directory"):
        write_history(make_run(tmp_path, history=1), tmp_path / "none" / f"h.{ending}")


def test_csv_needs_no_pyarrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write_history(make_run(tmp_path, history=1), tmp_path / "h.csv")
    assert (tmp_path / "h.csv").read_text().count("\n") == 2
