from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from PIL import Image
from tests.pages.test_markup import EVIL
from tests.pages.test_report import full
from tests.pages.test_sample_files import CLASSES, HEAD
from tests.synthetic import make_run

from shoal.pages.figures import draw
from shoal.store import Journal


def test_every_figure_is_drawn_as_png_and_svg(tmp_path: Path) -> None:
    drawn = draw(full(tmp_path, history=30), tmp_path / "out" / "figures")
    assert {path.name for path in drawn} == {
        f"{name}.{ending}"
        for name in ("loss", "accuracy", "learning_rate", "examples_per_second", "confusion")
        for ending in ("png", "svg")
    }
    for path in drawn:
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.info["dpi"] == pytest.approx((150, 150), abs=1)
                colours = image.convert("RGB").getcolors(1 << 20)
                assert colours is not None
                assert len(colours) > 5
        else:
            assert ElementTree.parse(path).getroot().tag.endswith("svg")


def test_averaged_weights_are_in_the_figure_of_their_metric_and_clipping_has_its_own(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with Journal(folder.history) as history:
        for step in (1, 2):
            row = {"valid.loss": 1 / step, "valid_average.loss": 2 / step, "train.clipped": 0.5, "train.grad_norm": 1.0}
            history.append({"step": step, "epoch": 1.0, **row})
        history.append({"step": 2, "epoch": 1.0, "test.loss": 0.4, "test_average.loss": 0.4})
    drawn = {path.name: path for path in draw(folder, tmp_path / "out")}
    assert set(drawn) >= {"loss.png", "norm_of_the_gradient.svg", "share_of_clipped_steps.svg"}
    legend = drawn["loss.svg"].read_text()
    assert "<!-- valid, averaged weights -->" in legend
    assert "<!-- test, averaged weights -->" in legend


def test_a_figure_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    folder = full(tmp_path)
    first = {path.name: path.read_bytes() for path in draw(folder, tmp_path / "one")}
    assert first == {path.name: path.read_bytes() for path in draw(folder, tmp_path / "two")}


def test_pairs_are_a_scatter(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    folder.samples.mkdir()
    pairs = [[[0, 0.1], [1, 0.9], [2, None]], [[0, 0], [1, 1], [2, 2]]]
    (folder.samples / "samples.json").write_text(
        json.dumps({**HEAD, "kind": "regression", "columns": 2, "pairs": pairs})
    )
    assert {path.stem for path in draw(folder, tmp_path / "out")} == {"predictions_1", "predictions_2"}


def test_names_are_no_mathematics_and_do_not_leave_the_folder(tmp_path: Path) -> None:
    names = [EVIL, "$\\frac{1", "../../up", "$", "a_b^c", "日本語"]
    folder = full(tmp_path, history=1)
    folder.timing.unlink()
    with Journal(folder.history) as history:
        for step in (2, 3):
            history.append({"step": step, **{f"valid.{name}": 0.5 / step for name in names}})
    (folder.samples / "samples.json").write_text(json.dumps({**CLASSES, "labels": names[:2]}))
    into = tmp_path / "out"
    drawn = draw(folder, into)
    assert all(path.parent == into for path in drawn)
    assert {"up.svg", "a_b_c.svg", "figure.svg", "figure_2.svg"} <= {path.name for path in drawn}
    assert len(set(drawn)) == len(drawn)


def test_a_run_without_anything_has_no_figures(tmp_path: Path) -> None:
    assert draw(make_run(tmp_path), tmp_path / "out") == []
