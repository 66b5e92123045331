from __future__ import annotations

import json
import math
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.pages.test_markup import EVIL, Seen

from shoal.pages.axes import HEIGHT, WIDTH
from shoal.pages.chart import STYLES, chart, drawing
from shoal.pages.scatter import scatter
from shoal.pages.series import Quantity, Series

VALUES = st.floats(allow_nan=True, allow_infinity=True)


def places(markup: str) -> list[tuple[float, float]]:
    """The points that the paths of a drawing go through."""
    lines = "".join(re.findall(r'<path d="([^"]*)" class="line', markup))
    return [(float(x), float(y)) for x, y in re.findall(r"[ML](\S+?) (\S+?)(?=[MLh]|$)", lines)]


@given(st.lists(VALUES, min_size=1, max_size=80))
def test_any_values_are_drawn_within_the_frame(values: list[float]) -> None:
    if not any(map(math.isfinite, values)):
        return
    made = drawing(Quantity("loss", [Series("train", list(enumerate(values)))]))
    ElementTree.fromstring(made)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in places(made))
    assert "nan" not in made.partition("</svg>")[0].partition("frame")[2]


def test_a_line_is_interrupted_where_a_value_was_not_finite() -> None:
    made = drawing(Quantity("loss", [Series("train", [(1, 1.0), (2, math.nan), (3, 2.0), (4, 1.0)])]))
    (outline,) = re.findall(r'<path d="([^"]*)" class="line', made)
    assert outline.count("M") == 2
    assert outline.count("L") == 1


def test_higher_values_are_drawn_higher_and_later_ones_further_right() -> None:
    low, high, last = places(drawing(Quantity("loss", [Series("train", [(0, 1.0), (5, 9.0), (10, 5.0)])])))
    assert low[0] < high[0] < last[0]
    assert high[1] < last[1] < low[1]


def test_splits_differ_by_colour_and_by_line_style_and_a_value_measured_once_is_a_mark() -> None:
    both = [(1.0, 1.0), (2.0, 0.5)]
    made = chart(Quantity("loss", [Series("train", both), Series("valid", both), Series("test", [(2.0, 0.6)])]))
    assert len(set(re.findall(r'class="line (\w+)" fill="none" stroke="([^"]+)"', made))) == 2
    assert made.count("stroke-dasharray") == 2  # valid: its line and its key
    assert made.count('class="mark test"') == 2
    assert "train 0.5000 at the end, lowest 0.5000 at step 2" in Seen(made).text
    assert "test 0.6000" in Seen(made).text


def test_averaged_weights_have_a_line_a_mark_and_a_legend_of_their_own() -> None:
    both, once = [(1.0, 1.0), (2.0, 0.5)], [(2.0, 0.6)]
    drawn = [("train", both), ("valid", both), ("valid_average", both), ("test", once), ("test_average", once)]
    made = chart(Quantity("loss", [Series(*one) for one in drawn]))
    found = re.findall(
        r'class="line ([\w-]+)" fill="none" stroke="([^"]+)"(?: [^>]*?stroke-dasharray="([^"]+)")?', made
    )
    assert len(set(found)) == 3
    assert len({dashes for _, _, dashes in found}) == 3
    assert 'class="mark test-average" fill="none"' in made
    text = Seen(made).text
    assert "valid, averaged weights 0.5000 at the end, lowest 0.5000 at step 2" in text
    assert "test, averaged weights 0.6000" in text
    assert [one["name"] for one in json.loads(Seen(made).attributes["data-chart"] or "")][
        2
    ] == "valid, averaged weights"


def test_every_kind_of_line_and_mark_has_its_colours_on_the_page() -> None:
    style = (Path(chart.__code__.co_filename).parent / "page.css").read_text()
    for kind in (style.kind for style in STYLES.values()):
        assert re.search(rf"\.line\.{kind}[ ,]", style)
        assert re.search(rf"\.mark\.{kind}[ ,]", style)


def test_the_script_gets_the_points_as_they_are() -> None:
    made = chart(Quantity("loss", [Series("train", [(1.0, 0.12345678), (2.0, math.nan), (3.0, 7.0)])]))
    (told,) = json.loads(Seen(made).attributes["data-chart"] or "")
    assert told["points"] == [[1, 0.123457], [2, None], [3, 7]]


def test_many_points_are_thinned_and_that_is_said() -> None:
    made = chart(Quantity("loss", [Series("train", [(float(step), float(step % 97)) for step in range(50_000)])]))
    assert len(made) < 60_000
    assert "Drawn from 50,000 points" in made


@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_logarithmic_axis_is_offered_where_it_helps(logarithmic: bool) -> None:
    made = chart(Quantity("loss", [Series("train", [(1.0, 1.0), (2.0, 0.001 if logarithmic else 0.5)])]))
    assert ("log axis" in made) is logarithmic


def test_names_do_not_act() -> None:
    made = chart(Quantity(EVIL, [Series(EVIL, [(1.0, 1.0), (2.0, 2.0)]), Series("train", [(1.0, 1.0)])]))
    assert "script" not in Seen(made).tags
    assert "<script" not in made


def test_a_scatter_has_a_dot_for_each_finite_pair() -> None:
    made = scatter([(1.0, 1.1), (2.0, math.nan), (3.0, 2.0)], title="test")
    assert made.count("<circle") == 2
    assert "1 of 3 predictions were not finite" in made
    assert "nothing to draw" in scatter([(math.nan, 1.0)], title="test")
