from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.synthetic import make_run

from shoal.errors import StoreError
from shoal.pages.report_samples import predictions
from shoal.pages.sample_files import Classified, Labelled, Regressed, Samples, read_samples
from shoal.store import RunFolder

EXAMPLE = {"index": 3, "target": 0, "prediction": 1, "p_target": 0.1, "p_prediction": 0.9, "loss": 2.3}
HEAD = {"format": 1, "split": "test", "examples": 4, "labels": ["cat", "dog"]}
CLASSES: dict[str, Any] = {
    **HEAD,
    "kind": "classification",
    "classes": 2,
    "wrong": 1,
    "confusion": [[1, 1], [0, 2]],
    "some": [{**EXAMPLE, "numbers": [0.5, None]}],
    "worst": [EXAMPLE],
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def folder_with(tmp_path: Path, told: object) -> RunFolder:
    folder = make_run(tmp_path)
    folder.samples.mkdir(exist_ok=True)
    (folder.samples / "samples.json").write_text(told if isinstance(told, str) else json.dumps(told))
    return folder


def test_a_run_without_samples_has_none(tmp_path: Path) -> None:
    assert read_samples(make_run(tmp_path)) is None


def test_predictions_of_classes(tmp_path: Path) -> None:
    found = read_samples(folder_with(tmp_path, CLASSES))
    assert isinstance(found, Samples)
    assert isinstance(found.shown, Classified)
    assert found.shown.confusion == [[1, 1], [0, 2]]
    assert found.shown.labels == ["cat", "dog"]
    assert found.shown.sheet is None


def test_classes_without_names_are_numbered(tmp_path: Path) -> None:
    for labels in (None, ["one"]):
        found = read_samples(folder_with(tmp_path, {**CLASSES, "labels": labels}))
        assert found is not None
        assert found.shown.labels == ["0", "1"]  # type: ignore[union-attr]


def test_other_kinds(tmp_path: Path) -> None:
    pairs = read_samples(folder_with(tmp_path, {**HEAD, "kind": "regression", "columns": 1, "pairs": [[[1, None]]]}))
    assert pairs is not None
    assert isinstance(pairs.shown, Regressed)
    counts = {"kind": "multilabel", "tp": [1, 2], "fp": [0, 0], "fn": [3, 0]}
    several = read_samples(folder_with(tmp_path, {**HEAD, **counts}))
    assert several is not None
    assert isinstance(several.shown, Labelled)
    assert several.shown.counts == [(1, 0, 3), (2, 0, 0)]


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ({**CLASSES, "format": 2}, r"of format 2, newer than this Shoal reads \(1\): upgrade"),
        ({**CLASSES, "confusion": [[1]]}, "another size than the classes"),
        ({**CLASSES, "kind": "odd"}, "is damaged"),
        ({**CLASSES, "some": [{"index": 1}]}, "is damaged"),
        (" " * 2_000_001, "too large"),
    ],
)
def test_what_cannot_be_read_is_said_on_the_page(tmp_path: Path, told: Any, why: str) -> None:
    folder = folder_with(tmp_path, told)
    with pytest.raises(StoreError, match=why):
        read_samples(folder)
    assert "The samples of this run cannot be shown" in predictions(folder)


@given(st.sampled_from(sorted(CLASSES)), JSON)
def test_any_value_in_the_place_of_another_breaks_no_page(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any
) -> None:
    assert "<h2>Predictions</h2>" in predictions(folder_with(tmp_path_factory.mktemp("runs"), {**CLASSES, key: value}))


@pytest.mark.parametrize("content", [b"<svg onload=alert(1)>", b"", None])
def test_thumbnails_that_are_no_png_are_left_out(tmp_path: Path, content: bytes | None) -> None:
    place = {"file": "../../../secret.png", "width": 8, "height": 8, "across": 12, "count": 2}
    folder = folder_with(tmp_path, {**CLASSES, "thumbnails": place, "some": [{**EXAMPLE, "tile": 0}]})
    if content is not None:
        (folder.samples / "thumbnails.png").write_bytes(content)
    assert "data:" not in predictions(folder)
