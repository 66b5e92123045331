"""The script of a page in a real browser: under the page's own policy it zooms and reads out, and nothing else runs."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.pages.test_report import full

from shoal.pages.report import report

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium to run the script of a page")

ACT = """
const figure = document.querySelector("figure[data-chart]"), svg = figure.querySelector("svg[role=img]");
const box = svg.getBoundingClientRect(), at = (share, type) => svg.dispatchEvent(new PointerEvent(type,
  {clientX: box.left + box.width * share, clientY: box.top + box.height / 2, bubbles: true, pointerId: 1}));
const told = {}, marks = () => [...svg.querySelectorAll(".frame text")].map((one) => one.textContent).join(" ");
const outline = () => svg.querySelector(".line").getAttribute("d");
told.before = marks(); told.line = outline();
at(0.5, "pointermove"); told.read = figure.querySelector("output").textContent;
at(0.55, "pointerdown"); at(0.75, "pointermove"); at(0.95, "pointermove"); at(0.95, "pointerup");
told.zoomed = marks(); told.zoomedLine = outline();
svg.dispatchEvent(new MouseEvent("dblclick", {bubbles: true})); told.after = marks(); told.lineAfter = outline();
const button = figure.querySelector("button.log");
told.hidden = button.hidden; button.click(); told.log = marks(); told.pressed = button.getAttribute("aria-pressed");
document.body.style.width = "ROOMpx";
told.room = document.body.scrollWidth > document.body.clientWidth ? "overflows" : "fits " + document.body.clientWidth;
told.hint = document.querySelector(".hint").hidden;
for (const [key, value] of Object.entries(told)) document.body.setAttribute("data-" + key, value);
"""


def browsed(tmp_path: Path, page: str, *, width: int = 800) -> dict[str, str]:
    """Open a page in chromium; return the data attributes of its body."""
    assert CHROMIUM is not None
    file = tmp_path / "page.html"
    file.write_text(page)
    options = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [CHROMIUM, *options, f"--window-size={width},900", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    body = re.findall(r"<body([^>]*)>", done.stdout)[0]
    return {key: html.unescape(value) for key, value in re.findall(r'data-(\w+)="([^"]*)"', body)}


def with_script(page: str, script: str, *, allowed: bool) -> str:
    """Add a script to a page; with `allowed`, its policy lets it run."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    if allowed:
        page = page.replace("script-src ", f"script-src &#x27;sha256-{digest}&#x27; ", 1)
    return page.replace("</body>", f"<script>{script}</script></body>")


def test_a_chart_zooms_reads_out_and_comes_back(tmp_path: Path) -> None:
    page = with_script(report(full(tmp_path, history=60)), ACT, allowed=True)
    told = browsed(tmp_path, page, width=500)
    assert re.fullmatch(r"step \d+: train [\d.]+, valid [\d.]+", told["read"])
    assert " 10 20 30 40 50 60 " in told["before"]
    assert " 35 40 45 50 55 " in told["zoomed"]
    assert told["zoomedline"] != told["line"]
    assert told["after"] == told["before"]
    assert (told["hidden"], told["pressed"]) == ("false", "true")
    assert told["log"] != told["before"]
    assert told["hint"] == "false"


@pytest.mark.parametrize("room", [400, 1400])
def test_a_page_fits_its_room_whatever_it_says(tmp_path: Path, room: int) -> None:
    folder = full(tmp_path, history=60, host="h" * 300, reason="r" * 300, name="n" * 99)
    folder.recipe.write_text("x" * 1000)
    script = ACT.replace("ROOM", str(room))
    assert browsed(tmp_path, with_script(report(folder), script, allowed=True), width=1600)["room"] == f"fits {room}"


def test_no_other_script_runs(tmp_path: Path) -> None:
    assert browsed(tmp_path, with_script(report(full(tmp_path, history=60)), ACT, allowed=False)) == {}
