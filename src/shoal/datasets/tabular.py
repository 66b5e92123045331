"""A table as examples: a row is one, its columns are inputs and targets.

Medians, categories and what normalises are those of the train rows; where a valid split is cut from train, of the
rows that stay. The names of the classes are those of the whole train file. Path, format and row order of other files
are no part of what the data are: their content is, and the names of the columns.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch

from shoal.datasets.cells import missing
from shoal.datasets.columns import describe, encode, feature_names, refuse_words, remarks, scaled
from shoal.datasets.cut import cut, valid_size
from shoal.datasets.examples import Data, Normalisation
from shoal.datasets.prepare import prepare
from shoal.datasets.table_file import arrow, files_of, read_rows
from shoal.datasets.table_targets import describe_targets, encode_targets, names_of
from shoal.errors import DataError, nearest
from shoal.recipe import parts
from shoal.recipe.parts import DatasetPart

ROW_NUMBERS = ("", "Unnamed: 0", "__index_level_0__")
"""What pandas calls the row numbers that it writes."""


def for_task(part: parts.Table, task: str) -> parts.Table:
    """Return the part with what the task says of the targets: under regression, whole numbers are numbers."""
    if part.target_type == "auto" and task == "regression":
        return part.model_copy(update={"target_type": "number"})
    return part


def build(part: DatasetPart, encoding: Mapping[str, Any] | None = None) -> Data:
    """Return the data of the table at `dataset.path`, its columns as `encoding` has them, or as they are in train."""
    assert isinstance(part, parts.Table)
    files, notes = files_of(part.path), list[str]()
    train = read_rows(files["train"], encoding)
    if encoding is None:
        encoding, notes = _encoding(part, train, str(files["train"]), cuts="valid" not in files)
    others = {split: read_rows(file, encoding) for split, file in files.items() if split != "train"}
    tables = {"train": train, **others}
    if encoding["missing"] == "drop":
        tables = {split: _complete(table, encoding, split, notes) for split, table in tables.items()}
    pairs = {
        split: (encode(encoding, table, where=split), encode_targets(encoding, table, split))
        for split, table in tables.items()
    }
    for split, table in tables.items():
        notes += remarks(encoding, table, where=split)
    return _finished(prepare(pairs, part, notes=notes), encoding)


def _encoding(part: parts.Table, table: Any, where: str, *, cuts: bool) -> tuple[dict[str, Any], list[str]]:
    """How rows of this table become examples, and what is to be said about it."""
    targets = names_of(part.target, table, where)
    inputs, notes = _inputs(part, table, targets, where)
    texts = [name for name in inputs if name not in part.categorical]
    refuse_words(table, texts, where, otherwise="if these are categories, say so: dataset.categorical=[{}]")
    if part.target_type != "class":
        refuse_words(table, targets, where, otherwise="if {} has classes, say so: dataset.target_type=class")
    if part.missing == "drop":
        table = table.filter(arrow().array(_whole_rows(table, [*inputs, *targets])))
        if not table.num_rows:
            raise DataError(f"{where}: every row has a missing value: dataset.missing=drop leaves none. Choose impute.")
    described = describe_targets(table, targets, part.target_type)
    columns = describe(_kept(table, part) if cuts else table, inputs, categorical=part.categorical)
    found = {"kind": "table", "columns": columns, "targets": described, "missing": part.missing}
    dates = [column["name"] for column in columns if column["type"] == "date"]
    if dates:
        notes.append(f"dates as days since 1970-01-01: {', '.join(dates)}")
    return found, [_summary(found), *notes]


def _kept(table: Any, part: parts.Table) -> Any:
    """The rows of train that `prepare` will not cut off for valid."""
    size = valid_size(table.num_rows, part.valid)
    return table.take(arrow().array(cut(table.num_rows, size)[0].numpy())) if size else table


def _inputs(part: parts.Table, table: Any, targets: Sequence[str], where: str) -> tuple[list[str], list[str]]:
    """The columns that are inputs, in the order of the table, and a note on those that are left out."""
    columns = cast("list[str]", table.column_names)
    for key, names in (("ignore", part.ignore), ("categorical", part.categorical)):
        for name in names:
            if name not in columns or name in targets:
                close = nearest(name, [column for column in columns if column not in targets])
                hint = f"did you mean {close!r}? " if close else ""
                what = "is the target" if name in targets else f"is no column of {where}"
                raise DataError(f"dataset.{key} = {name!r}: {what}: {hint}There are: {', '.join(columns)}.")
    row_numbers = [name for name in columns if name in ROW_NUMBERS and name not in (*targets, *part.categorical)]
    inputs = [name for name in columns if name not in (*targets, *part.ignore, *row_numbers)]
    if not inputs:
        raise DataError(f"{where}: there is no column to predict {', '.join(targets)} from: expected one at least.")
    notes = [f"left out, as pandas writes row numbers so: the column {name!r}" for name in row_numbers]
    return inputs, notes


def _summary(encoding: Mapping[str, Any]) -> str:
    columns, targets = encoding["columns"], encoding["targets"]
    count = sum(column["kind"] == "category" for column in columns)
    kinds = f"{len(columns) - count:,} of numbers, {count:,} of categories"
    names = ", ".join(column["name"] for column in targets["columns"])
    meaning = {"number": "numbers", "several": "labels of 0 and 1"}.get(targets["kind"])
    meaning = meaning or f"{len(targets['labels']):,} classes"
    return f"table: {len(columns):,} columns ({kinds}) as {len(feature_names(encoding)):,} inputs; {names}: {meaning}"


def _whole_rows(table: Any, names: Sequence[str]) -> np.ndarray[Any, Any]:
    return ~np.logical_or.reduce([missing(table.column(name)) for name in names])


def _complete(table: Any, encoding: Mapping[str, Any], split: str, notes: list[str]) -> Any:
    """The rows without missing values in any column that is used."""
    used = [column["name"] for column in (*encoding["columns"], *encoding["targets"]["columns"])]
    kept = _whole_rows(table, [name for name in used if name in table.column_names])
    if not kept.all():
        notes.append(f"{split}: {int((~kept).sum()):,} rows with missing values are left out")
    return table.filter(arrow().array(kept))


def _finished(data: Data, encoding: Mapping[str, Any]) -> Data:
    """The data with their names and encoding; inputs of 0 and 1 are not normalised."""
    targets, mask = encoding["targets"], torch.from_numpy(scaled(encoding))
    labels = targets["labels"] or ([column["name"] for column in targets["columns"]] if data.multilabel else None)
    constants = data.normalisation
    if constants is not None:
        constants = Normalisation(torch.where(mask, constants.mean, 0.0), torch.where(mask, constants.deviation, 1.0))
    names = [feature_names(encoding), targets["columns"], targets["labels"]]
    counts = data.class_counts
    if targets["kind"] == "class" and counts is not None:
        counts = (*counts, *[0] * (len(targets["labels"]) - len(counts)))
    return replace(
        data,
        digest=hashlib.sha256(f"table {json.dumps(names)} {data.digest}".encode()).hexdigest(),
        normalisation=constants,
        classes=len(targets["labels"]) if targets["kind"] == "class" else data.classes,
        class_counts=counts,
        labels=tuple(labels) if labels else None,
        encoding=encoding,
    )
