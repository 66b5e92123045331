from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from shoal.datasets import build
from shoal.datasets.columns import encode, feature_names, remarks
from shoal.datasets.cut import cut
from shoal.datasets.table_file import read_rows
from shoal.errors import DataError
from shoal.recipe.parts import Table

ROWS = 40


def people(rows: int = ROWS) -> pd.DataFrame:
    """A table with a column of every kind."""
    draws = np.random.default_rng(0)
    age, city = draws.normal(40, 10, rows), draws.choice(["Bern", "Basel", "Genf"], rows)
    frame = pd.DataFrame(
        {"age": age, "city": city, "member": draws.random(rows) < 0.5, "visits": draws.integers(0, 9, rows)}
    )
    frame["day"] = pd.date_range("2020-01-01", periods=rows)
    frame["paid"] = np.where(age > 40, "yes", "no")
    return frame


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Table]:
    """Return the `dataset` part for a table that is written to a file."""

    def make(frame: pd.DataFrame | str, name: str = "table.csv", **fields: Any) -> Table:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        if isinstance(frame, str):
            path.write_text(frame)
        elif name.endswith("parquet"):
            frame.to_parquet(path, index=False)
        elif name.endswith("feather"):
            frame.to_feather(path)
        else:
            frame.to_csv(path, index=False)
        return Table(path=str(path if "/" not in name else path.parent), **{"target": "paid", **fields})

    return make


Make = Callable[..., Table]


def test_each_kind_of_column_becomes_its_inputs(table: Make) -> None:
    frame = people()
    data = build(table(frame, valid=0))
    assert feature_names(data.encoding) == [
        *("age", "city = Basel", "city = Bern", "city = Genf", "member = false", "member = true", "visits", "day"),
    ]
    inputs = data.splits["train"].inputs
    assert (inputs.dtype, tuple(inputs.shape)) == (torch.float32, (ROWS, 8))
    np.testing.assert_array_equal(inputs[:, 0], frame["age"].astype("f4"))
    np.testing.assert_array_equal(inputs[:, 2], frame["city"] == "Bern")
    np.testing.assert_array_equal(inputs[:, 5], frame["member"])
    days = (frame["day"] - pd.Timestamp("1970-01-01")).dt.days
    centre = data.encoding["columns"][-1]["centre"]
    np.testing.assert_array_equal(inputs[:, 7] + centre, days)
    assert (data.labels, data.classes) == (("no", "yes"), 2)
    np.testing.assert_array_equal(data.splits["train"].targets, frame["paid"] == "yes")
    assert "dates as days since 1970-01-01: day" in data.notes
    assert data.notes[0] == "table: 5 columns (3 of numbers, 2 of categories) as 8 inputs; paid: 2 classes"


def test_numbers_are_normalised_by_train_and_categories_stay_0_and_1(table: Make) -> None:
    data = build(table(people(), valid=10))
    train = data.splits["train"]
    constants = data.normalisation
    assert constants is not None
    assert constants.mean[1:6].tolist() == [0] * 5
    assert constants.deviation[1:6].tolist() == [1] * 5
    numbers = train.inputs[train.rows][:, [0, 6, 7]]
    torch.testing.assert_close(constants.mean[[0, 6, 7]], numbers.mean(0))
    torch.testing.assert_close(constants.deviation[[0, 6, 7]], numbers.std(0, correction=0))
    assert build(table(people(), normalise=False)).normalisation is None


def test_what_a_table_is_does_not_depend_on_its_file(table: Make) -> None:
    frame = people()
    digests = {build(table(frame, name)).digest for name in ("a.csv", "b.csv.gz", "c.parquet", "d.feather")}
    assert len(digests) == 1
    assert build(table(frame.rename(columns={"age": "years"}))).digest not in digests
    assert build(table(frame, ignore=("age",))).digest not in digests
    assert build(table(frame.iloc[::-1])).digest not in digests


def test_semicolons_tabs_and_blanks_are_understood(table: Make) -> None:
    plain = "age,city,paid\n" + "1.5,Bern,no\n2.5,Genf,yes\n" * 4
    digest = build(table(plain)).digest
    assert build(table(plain.replace(",", ";"))).digest == digest
    assert build(table(plain.replace(",", "\t"), "t.tsv")).digest == digest
    assert build(table(plain.replace(",", ", "))).digest == digest
    assert build(table("\ufeff" + plain)).digest == digest


def test_a_folder_has_a_file_for_each_split(table: Make) -> None:
    frame = people()
    for name in ("folder/valid.csv", "folder/test.parquet"):
        table(frame.head(7), name)
    data = build(table(frame, "folder/train.csv"))
    assert data.sizes == {"train": ROWS, "valid": 7, "test": 7}
    torch.testing.assert_close(data.splits["test"].inputs, data.splits["train"].inputs[:7])


def test_the_row_numbers_of_pandas_are_left_out(table: Make) -> None:
    data = build(table(people().to_csv()))
    assert "age" in feature_names(data.encoding)[0]
    assert "left out, as pandas writes row numbers so: the column ''" in data.notes


def test_missing_values_are_the_median_of_the_train_rows_and_say_so(table: Make) -> None:
    frame = people()
    frame.loc[[2, 5], "age"] = np.nan
    frame.loc[5, "city"] = None
    data = build(table(frame, valid=10))
    kept = cut(ROWS, 10)[0].numpy()
    names, inputs = feature_names(data.encoding), data.splits["train"].inputs
    assert names[:3] == ["age", "age is missing", "city = Basel"]
    assert inputs[:, 1].nonzero().flatten().tolist() == [2, 5]
    assert inputs[2, 0] == np.float32(frame["age"].iloc[kept].median())
    assert inputs[5, 2:6].tolist() == [0, 0, 0, 1]
    assert names[5] == "city is missing"


def test_rows_with_missing_values_can_be_dropped_or_refused(table: Make) -> None:
    frame = people()
    frame.loc[[2, 5], "age"] = np.nan
    frame.loc[7, "paid"] = None
    data = build(table(frame, missing="drop", valid=0))
    assert data.sizes == {"train": ROWS - 3}
    assert "train: 3 rows with missing values are left out" in data.notes
    with pytest.raises(
        DataError, match=r"train: 'age' is missing in 2 rows, the first row 2 .*dataset.missing is stop"
    ):
        build(table(frame.fillna({"paid": "no"}), missing="stop"))


def test_new_rows_are_encoded_as_train_was(table: Make, tmp_path: Path) -> None:
    frame = people()
    frame.loc[3, "age"] = np.nan
    data = build(table(frame, valid=0))
    rows = frame.drop(columns="paid")[["day", "visits", "member", "city", "age"]].assign(extra="left alone")
    rows.to_csv(tmp_path / "new.csv", index=False)
    found = encode(data.encoding, read_rows(tmp_path / "new.csv", data.encoding))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, data.splits["train"].inputs)
    assert remarks(data.encoding, read_rows(tmp_path / "new.csv", data.encoding), where="new") == []


def test_values_that_train_does_not_have_are_none_of_its_categories_and_are_counted(table: Make) -> None:
    frame = people()
    table(frame.head(5).assign(city=["Bern", "Chur", "Chur", None, "Bern"], age=[1, 2, None, 4, 5]), "folder/test.csv")
    data = build(table(frame, "folder/train.csv"))
    assert data.splits["test"].inputs[:, 1:4].sum(1).tolist() == [1, 0, 0, 0, 1]
    said = " ".join(data.notes)
    assert (
        "test: 'city' has 2 values that train does not have (first 'Chur'): none of its categories is set there" in said
    )
    assert "test: 'city' has 1 missing, and train has none: none of its categories is set" in said
    assert "test: 'age' has 1 missing, and train has none: its median" in said


def test_text_that_looks_like_numbers_stays_the_text_of_train(table: Make) -> None:
    rows = "code,paid\n" + "01,no\nx1,yes\n02,no\nx2,yes\n" * 3
    table("code,paid\n01,no\n02,yes\n", "folder/test.csv")
    data = build(table(rows, "folder/train.csv"))
    assert data.splits["test"].inputs.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0]]


def test_numbers_can_be_categories(table: Make) -> None:
    data = build(table(people(), categorical=("visits",), valid=0))
    assert [name for name in feature_names(data.encoding) if name.startswith("visits")] == [
        f"visits = {n}" for n in range(9)
    ]


def test_large_numbers_that_lie_close_together_are_told_apart(table: Make) -> None:
    frame = people().assign(age=1.7e9 + np.arange(ROWS) * 0.25)
    data = build(table(frame, valid=0))
    assert len(data.splits["train"].inputs[:, 0].unique()) == ROWS


@pytest.mark.parametrize(
    ("values", "target_type", "task", "expected"),
    [
        ([10, 2, 10, 2], "auto", "classification", ("10", "2")),
        ([1.5, 2.0, 3.0, 4.0], "auto", "classification", None),
        ([10, 2, 10, 2], "auto", "regression", None),
        ([10, 2, 10, 2], "number", "external", None),
        ([1.0, 2.0, 1.0, 2.0], "class", "classification", ("1", "2")),
        ([True, False, True, True], "auto", "classification", ("false", "true")),
        (["b", "a", "b", "c"], "auto", "classification", ("a", "b", "c")),
    ],
)
def test_targets_are_classes_or_numbers(table: Make, values: Any, target_type: str, task: str, expected: Any) -> None:
    part = table(pd.DataFrame({"x": range(4), "y": values}), target="y", target_type=target_type, valid=0)
    data = build(part, task=task)
    if expected is None:
        assert data.labels is data.classes is None
        assert data.splits["train"].targets.tolist() == values
    else:
        assert sorted(expected) == sorted(data.labels)
        assert [data.labels[int(label)] for label in data.splits["train"].targets] == [
            str(value).lower().removesuffix(".0") for value in values
        ]


def test_whole_numbers_are_classes_in_their_order(table: Make) -> None:
    part = table(pd.DataFrame({"x": range(12), "y": [10, 9, -1] * 4}), target="y")
    assert build(part).labels == ("-1", "9", "10")


def test_several_targets_are_labels_or_numbers(table: Make) -> None:
    frame = pd.DataFrame({"x": range(6), "a": [0, 1] * 3, "b": [True, False, False] * 2, "c": [0.5] * 5 + [1]})
    labels = build(table(frame, target=("a", "b"), ignore=("c",), valid=0))
    assert (labels.multilabel, labels.labels, labels.target_shape) == (True, ("a", "b"), (2,))
    assert labels.splits["train"].targets[:2].tolist() == [[0, 1], [1, 0]]
    numbers = build(table(frame, target=("a", "c"), ignore=("b",), valid=0))
    assert (numbers.multilabel, numbers.labels, numbers.classes) == (False, None, None)
    assert build(table(frame, target=("a",))).labels == build(table(frame, target="a")).labels == ("0", "1")


def test_other_files_are_read_by_the_encoding_of_a_run(table: Make) -> None:
    encoding = build(table(people())).encoding
    others = people().query("city != 'Genf' and paid == 'yes'")
    data = build(table(others, "others.csv", valid=0), encoding=encoding)
    assert data.input_shape == (8,)
    assert (data.classes, data.labels, data.class_counts) == (2, ("no", "yes"), (0, len(others)))


BASE = people()


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        ({}, {"target": None}, r"dataset.target is not set: .*There are: age, city, member, visits, day, paid"),
        (
            {},
            {"target": "piad"},
            r"dataset.target = 'piad': .*table.csv has no such column: did you mean 'paid'\? There",
        ),
        ({}, {"target": ("paid", "paid")}, "dataset.target = paid, paid: a column is named twice"),
        ({}, {"ignore": ("agee",)}, r"dataset.ignore = 'agee': is no column of .*did you mean 'age'\?"),
        ({}, {"categorical": ("paid",)}, "dataset.categorical = 'paid': is the target"),
        ({}, {"target": ("age", "paid")}, "'paid' holds text, expected numbers: row 0 has '(yes|no)'"),
        ({}, {"target": "day"}, "the target 'day' holds date: expected classes or numbers"),
        ({}, {"target": ("visits", "member"), "target_type": "class"}, "expected to hold 0 and 1"),
        ({"age": [None] * ROWS}, {}, r"'age' has no value in any row of train. Leave it out: dataset.ignore=\[age\]"),
        ({"age": [1.0, 2, np.inf, 4] * 10}, {}, r"train: 'age' has 10 values that are infinite .*row 2 \(inf;"),
        ({"age": [1.0, 2, 1e39, 4] * 10}, {}, "train: 'age' has 10 values that are infinite or beyond float32"),
        ({"age": ["1"] * 39 + ["old"]}, {}, r"'age' is text, though 97.5% .*row 39 has 'old'.*categorical=\[age\]"),
        ({"age": ["1"] * 39 + ["old"]}, {"target": "age"}, "row 39 has 'old'.*dataset.target_type=class"),
        ({"paid": ["no", None] * 20}, {}, "train: the target 'paid' is missing in 20 of 40 rows, the first row 1"),
        ({"paid": ["no"] * ROWS}, {}, "the target 'paid' is 'no' in every row of train: there is nothing to learn"),
        ({"paid": [0.5] * ROWS}, {}, "the target 'paid' is '0.5' in every row"),
        ({"paid": [0.5, np.inf] * 20}, {}, "train: the target 'paid' of row 1 is inf"),
        ({"age": [np.nan] * ROWS, "paid": ["a", "b"] * 20}, {"missing": "drop"}, "every row has a missing value"),
    ],
)
@pytest.mark.parametrize("name", ["table.csv", "table.parquet"])
def test_what_is_wrong_with_a_table_is_named(change: Any, fields: Any, message: str, name: str, table: Make) -> None:
    with pytest.raises(DataError, match=message.replace("table.csv", name)):
        build(table(BASE.assign(**change), name, **fields))


def test_too_many_categories_and_classes_are_refused(table: Make) -> None:
    many = pd.DataFrame({"name": [f"n{i}" for i in range(1500)], "price": range(1500), "x": 1.5})
    with pytest.raises(DataError, match=r"'name' is text with 1,350 different values.*at most 1,000.*ignore=\[name\]"):
        build(table(many.assign(price=many["price"] % 5), target="price"))
    with pytest.raises(DataError, match=r"the target 'price' has 1,500 different values .*task=regression"):
        build(table(many, target="price", ignore=("name",)))


def test_lists_and_bytes_are_refused(table: Make) -> None:
    frame = pd.DataFrame({"x": [[1], [2]] * 5, "paid": [0, 1] * 5})
    with pytest.raises(
        DataError, match=r"'x' holds list<.*>: expected numbers, texts, booleans or dates. Leave it out"
    ):
        build(table(frame, "t.parquet"))
    with pytest.raises(DataError, match="'x' holds binary data, or text that is not UTF-8"):
        build(table(frame.assign(x=b"1"), "t.parquet"))


def test_there_must_be_something_to_predict_from(table: Make) -> None:
    with pytest.raises(DataError, match="there is no column to predict y from"):
        build(table("y\n1\n2\n", target="y"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"age": None}, r"test: the column 'age' is missing, which the model was trained on: did you mean 'Age'\?"),
        ({"paid": None}, "test: the target 'paid' is missing: There are: .* rows can be predicted but not measured"),
        ({"paid": ["no", "maybe"] * 20}, r"test: the target 'paid' of row 1 is 'maybe'.*expected one of no, yes"),
        ({"age": ["old"] * ROWS}, "test: 'age' holds text, expected numbers: row 0 has 'old'"),
        ({"age": ["2020-01-01"] * ROWS}, "test: 'age' holds date, and in train number: expected the same"),
        ({"day": ["today"] * ROWS}, "test: 'day' holds text, and in train date"),
    ],
)
def test_a_split_must_be_like_train(change: dict[str, Any], message: str, table: Make) -> None:
    frame = people()
    for name, values in change.items():
        frame = frame.drop(columns=name) if values is None else frame.assign(**{name: values})
    table(frame.assign(Age=1), "folder/test.csv")
    with pytest.raises(DataError, match=message):
        build(table(people(), "folder/train.csv"))
