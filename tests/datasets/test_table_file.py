from __future__ import annotations

from pathlib import Path

import pytest

from shoal.datasets.table_file import files_of, read_rows
from shoal.errors import DataError


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "a.csv: the file is empty: expected a table with a row of column names"),
        ("a.csv", b"x,y\n", "a.csv: there are no rows in it"),
        ("a.csv", b"x,y\n1,2\n3\n", r"a.csv: not a sound CSV file \(CSV parse error: Expected 2 columns, got 1: 3"),
        ("a.csv", b"x,y,x\n1,2,3\n", "a.csv: several columns are called 'x': expected a name for each"),
        ("a.csv", b"x, x\n1,2\n", "several columns are called 'x'"),
        ("a.csv.gz", b"x,y\n1,2\n", "a.csv.gz: not a sound CSV file"),
        ("a.parquet", b"x,y\n1,2\n", "a.parquet: not a sound Parquet file .*Write it again, or give its suffix"),
        ("a.feather", b"x,y\n1,2\n", "a.feather: not a sound Feather file"),
        ("a.xlsx", b"x", "a.xlsx: what is in it is not known from its name: expected .csv, .csv.gz"),
    ],
)
def test_a_file_that_is_no_table_is_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_rows(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"b.csv: there is no such file"):
        read_rows(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"dataset.path is not set: expected a file .*dataset.path=FILE"):
        files_of(None)
    (tmp_path / "table.csv").touch()
    with pytest.raises(DataError, match=r"does not exist: did you mean .*/table.csv\? Expected a file \(.csv, "):
        files_of(str(tmp_path / "tabel.csv"))


def test_a_folder_needs_one_file_for_train(tmp_path: Path) -> None:
    (tmp_path / "test.csv").touch()
    with pytest.raises(DataError, match=r"has no train.csv or train.parquet"):
        files_of(str(tmp_path))
    (tmp_path / "train.csv").touch()
    assert set(files_of(str(tmp_path))) == {"train", "test"}
    (tmp_path / "train.parquet").touch()
    with pytest.raises(DataError, match=r"it has train.csv and train.parquet: expected one file for train"):
        files_of(str(tmp_path))


def test_types_are_found_in_all_rows_and_quotes_hold_line_ends(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("x,y\n" + "1,a\n" * 400_000 + '1.5,"two\nlines"\n')  # more than a block of pyarrow's
    table = read_rows(path)
    assert str(table.schema.field("x").type) == "double"
    assert table.column("y")[-1].as_py() == "two\nlines"
