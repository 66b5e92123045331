"""The script of a page of many runs in a real browser: it brushes, sorts, filters, reads out; no other script runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.pages.test_page_script import CHROMIUM, browsed, with_script
from tests.pages.test_sweep_report import HOSTILE, SMALL, STATES, page_of
from tests.synthetic_sweep import make_sweep

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the script of a page")

START = """
const told = {}, tell = (key, value) => { told[key] = value; };
const all = (what) => [...document.querySelectorAll(what)], one = (what) => document.querySelector(what);
const shown = (table) => all(`#${table} tbody tr`).filter((row) => getComputedStyle(row).display !== "none");
const press = (element, key) =>
  element.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles: true, cancelable: true}));
const move = (element, kind, clientX, clientY) =>
  element.dispatchEvent(new PointerEvent(kind, {clientX, clientY, bubbles: true}));
const choose = (list, at) => { list.selectedIndex = at; list.dispatchEvent(new Event("change", {bubbles: true})); };
const type = (text) => {
  one("#filter input").value = text;
  one("#filter input").dispatchEvent(new Event("input"));
};
const button = (name) => all("button").find((element) => element.textContent.startsWith(name));
const curves = () => one(".curves svg[role=img]"), output = () => one(".curves output").textContent;
const ends = (name) => all("#parallel .end").filter((end) => end.getAttribute("aria-label").startsWith(name));
"""
END = """
for (const [key, value] of Object.entries(told)) document.body.setAttribute("data-" + key, value);
"""


def acted(tmp_path: Path, page: str, script: str, *, width: int = 1000) -> dict[str, str]:
    return browsed(tmp_path, with_script(page, START + script + END, allowed=True), width=width)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    runs = tmp_path_factory.mktemp("runs")
    return page_of(runs, make_sweep(runs, grid=SMALL, seeds=3, states=STATES))


def test_an_axis_is_brushed_with_keys_and_pointer_and_everything_follows(tmp_path: Path, page: str) -> None:
    script = """
    const [low, high] = ends("lr,");
    tell("ready", document.body.dataset.ready);
    tell("lines", all("#parallel .lines path").length);
    press(high, "ArrowDown");
    tell("keyed", shown("experiments").length); tell("runs", shown("runs").length);
    tell("off", all("#parallel .lines .off").length); tell("dots", all("figure .run.off").length > 0);
    tell("keys", all(".curves .keys li").length); tell("told", one("#filter output").textContent);
    tell("value", high.getAttribute("aria-valuetext"));
    press(low, "ArrowUp"); tell("narrow", shown("experiments").length);
    button("show all").click(); tell("all", shown("experiments").length);
    const rail = all("#parallel .rail")[1], box = one("#parallel svg").getBoundingClientRect();
    const at = (share, kind) => move(rail, kind, 0, box.top + box.height * share);
    at(0.05, "pointerdown"); at(0.3, "pointermove"); at(0.3, "pointerup");
    tell("dragged", shown("experiments").length);
    at(0.5, "pointerdown"); at(0.5, "pointerup"); tell("undone", shown("experiments").length);
    """
    told = acted(tmp_path, page, script)
    assert int(told["ready"]) > 0
    assert (told["lines"], told["keyed"], told["runs"], told["off"], told["keys"]) == ("6", "4", "12", "2", "4")
    assert told["dots"] == "true"
    assert told["told"] == "4 of 6 experiments are shown. "
    assert 0.1 < float(told["value"]) < 1
    assert (told["narrow"], told["all"], told["dragged"], told["undone"]) == ("2", "6", "3", "6")


def test_tables_sort_and_filter(tmp_path: Path, page: str) -> None:
    script = """
    const column = (at) => shown("experiments").map((row) => row.cells[at].textContent).join(" ");
    const head = (at) => one(`#experiments th:nth-child(${at + 1})`);
    const sort = (at) => { head(at).querySelector("button").click(); return column(at); };
    tell("up", sort(1)); tell("sort", head(1).getAttribute("aria-sort"));
    tell("down", sort(1)); tell("falling", head(1).getAttribute("aria-sort"));
    tell("rank", sort(0));
    type("failed"); tell("failed", shown("experiments").length);
    type("LR=0.1 width=64"); tell("exact", column(0)); tell("line", output());
    type("nothing like it"); tell("none", shown("experiments").length); tell("empty", output());
    """
    told = acted(tmp_path, page, script)
    assert told["up"] == "0.01 0.01 0.1 0.1 1 1"
    assert told["down"] == "1 1 0.1 0.1 0.01 0.01"
    assert (told["sort"], told["falling"], told["rank"]) == ("ascending", "descending", "1 2 3 4 5 6")
    assert (told["failed"], told["exact"], told["none"]) == ("1", "1", "0")
    assert told["empty"] == "Nothing to draw."


def test_curves_name_what_is_pointed_at_and_change_with_what_is_chosen(tmp_path: Path, page: str) -> None:
    script = """
    const lines = () => curves().querySelectorAll("path.line, path.faint").length;
    const [metric, band] = all(".curves select");
    tell("metrics", [...metric.options].map((option) => option.textContent).join(" "));
    tell("lines", lines()); tell("bands", curves().querySelectorAll(".band").length);
    press(curves(), "ArrowDown"); tell("first", output());
    press(curves(), "ArrowDown"); tell("second", output());
    press(curves(), "ArrowLeft"); tell("earlier", output());
    const box = curves().getBoundingClientRect();
    move(curves(), "pointermove", box.left + box.width * 0.9, box.top + 25);
    tell("pointed", output());
    button("every run").click(); tell("runs", lines()); press(curves(), "ArrowDown"); tell("seed", output());
    button("every run").click(); choose(band, 1); press(curves(), "ArrowDown"); tell("deviation", output());
    choose(metric, 1); button("log axis").click(); tell("label", curves().getAttribute("aria-label"));
    press(curves(), "ArrowDown"); tell("other", output());
    const plots = () => all(".by-metric")[0].querySelectorAll("div[data-metric]:not([hidden])");
    tell("plots", plots()[0].dataset.metric + plots().length);
    choose(all(".by-metric")[0].previousElementSibling.querySelector("select"), 1);
    tell("chosen", plots()[0].dataset.metric);
    """
    told = acted(tmp_path, page, script)
    assert told["metrics"] == "valid.accuracy valid.loss train.loss train.accuracy valid.top5"
    assert (told["lines"], told["bands"]) == ("6", "6")
    assert told["first"].startswith("1. lr=0.1 width=64: valid.accuracy 0.9")
    assert told["first"].endswith("(n=2)")  # the third of them was killed early
    assert " at step 1,560, " in told["first"]
    assert told["second"].startswith("2. lr=0.1 width=16: valid.accuracy")
    assert " at step 1,521, " in told["earlier"]
    assert told["pointed"].startswith(("1. lr=0.1", "2. lr=0.1"))
    assert told["runs"] == "17"
    assert "1. lr=0.1 width=64, seed 0: valid.accuracy" in told["seed"]
    assert told["deviation"] != told["first"]
    assert told["label"] == "valid.loss of 6 experiments"
    assert "valid.loss" in told["other"]
    assert (told["plots"], told["chosen"]) == ("valid.accuracy1", "test.accuracy")


@pytest.mark.parametrize("room", [400, 1400])
def test_a_page_fits_its_room(tmp_path: Path, page: str, room: int) -> None:
    script = f"""
    const body = document.body;
    body.style.width = "{room}px"; window.dispatchEvent(new Event("resize"));
    tell("room", body.scrollWidth > body.clientWidth ? "overflows" : "fits " + body.clientWidth);
    tell("drawn", curves().getAttribute("viewBox").split(" ")[2]);
    """
    told = acted(tmp_path, page, script, width=1600)
    assert told["room"] == f"fits {room}"
    assert int(told["drawn"]) <= room


def test_no_other_script_runs_and_names_stay_text(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    hostile = page_of(runs, make_sweep(runs, grid={"a.b": HOSTILE}, seeds=2, epochs=4))
    told = acted(
        tmp_path, hostile, 'tell("scripts", all("script, img, b b").length); tell("rows", shown("runs").length);'
    )
    assert (told["scripts"], told["rows"]) == ("3", "10")
    assert set(browsed(tmp_path, with_script(hostile, START + END, allowed=False))) == {"ready"}


def test_a_sweep_that_is_queued_has_a_page_that_works(tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    states = {(at, seed): "queued" for at in range(6) for seed in range(2)}
    queued = page_of(runs, make_sweep(runs, grid=SMALL, seeds=2, states=states))
    told = acted(tmp_path, queued, 'type("lr=0.1"); tell("rows", shown("experiments").length);')
    assert (told["rows"], "ready" in told) == ("2", True)
