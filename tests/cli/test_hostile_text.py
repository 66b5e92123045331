"""Text that would act on whoever reads it: none of it does, on any screen, in any file that is made from a run."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import pty
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.assembly.boards import hyperparameters, scalars
from tests.pages.test_markup import Seen
from tests.pages.test_report import full
from tests.synthetic import make_run

import shoal as package
from shoal.files import to_json
from shoal.pages.figures import draw
from shoal.pages.notebook import run_html, runs_html
from shoal.store import Journal, RunFolder, summaries

EVILS = [
    "<script>alert(1)</script>",
    '"onmouseover="alert(1)',
    "</title></style></script><img src=x onerror=alert(1)>",
    "=cmd|' /C calc'!A0",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\tcell",
    "\rover",
    "\x1b[31mred\x1b[2J",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\",
    "\x9b31m",
    "\u202egnp.exe\u2066",
    "\x00\x08\x7f",
    "[red]rich[/red]",
    "$\\frac{1}{0}$",
    "\ud800",
]
EVIL = "|".join(EVILS)
PATH = EVIL.replace("\0", "").replace("\ud800", "")  # what a path can hold
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def hostile(top: Path) -> RunFolder:
    """Return a finished run, all of whose texts are EVIL."""
    folder = full(top, history=6)
    record = json.loads(folder.record.read_text())

    def evil(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: evil(item, name) for name, item in value.items()} | ({EVIL: EVIL} if key else {})
        if isinstance(value, list):
            return [evil(item, key) for item in value]
        kept = key in ("format", "status", "signature", "seed", "steps", "total_steps", "started", "finished")
        return EVIL if isinstance(value, str) and not kept else value

    record = evil(record) | {
        "name": EVIL,
        "reason": EVIL,
        "note": EVIL,
        "metrics": {f"test.{EVIL}": 0.5, "test.loss": 1},
    }
    record["provenance"] = {"command": EVIL, "platform": EVIL, "versions": {EVIL: EVIL}, "git": {"commit": EVIL}}
    folder.record.write_text(json.dumps(record))
    folder.recipe.write_bytes(f"name: {EVIL}\n".encode("utf-8", "surrogatepass"))
    folder.log.write_bytes(f"{EVIL}\nfailed: {EVIL}\n".encode("utf-8", "surrogatepass"))
    with Journal(folder.history) as history:
        history.append({"step": 7, f"valid.{EVIL}": 0.5, EVIL: 0.1, "note": EVIL})
    told = json.loads((folder.samples / "samples.json").read_text())
    told |= {"labels": [EVIL, f"{EVIL}2"], "split": EVIL, "weights": EVIL}
    (folder.samples / "samples.json").write_text(json.dumps(told))
    return folder


COMMANDS = [
    ["ls"],
    ["ls", "--metrics", f"test.{EVIL}"],
    ["ls", "--where", f"test.{EVIL}>0"],
    ["ls", "--json"],
    ["ls", "--name", EVIL],
    ["ls", "--status", EVIL],
    ["ls", "--sort", EVIL],
    ["show", "RUN"],
    ["show", "RUN", "--json"],
    ["show", EVIL],
    ["logs", "RUN"],
    ["verify", "RUN"],
    ["verify", "RUN", "--json"],
    ["verify", EVIL],
    ["report", "RUN", "-o", "page.html"],
    ["report", "RUN", "-o", f"{PATH}/page.html"],
    ["report", "RUN", "OTHER", "-o", "page.html"],
    ["compare", "RUN", "OTHER"],
    ["compare", "RUN", "OTHER", "--json"],
    ["compare", "RUN", EVIL],
    ["export", "RUN", "--history", "h.csv"],
    ["export", "RUN", "--history", PATH],
    ["schema", EVIL],
    [EVIL],
    ["rm", EVIL],
    ["rm", "RUN"],
]


def named(words: list[str]) -> str:
    return " ".join(word for word in words if word.isascii() and word.isprintable())


@pytest.mark.parametrize("words", COMMANDS, ids=named)
def test_nothing_that_a_command_prints_acts(words: list[str], shoal: Any, runs: Path) -> None:
    folder, other = hostile(runs), make_run(runs.parent / "elsewhere", "other", metrics={"test.loss": 2.0})
    paths = {"RUN": str(folder.path), "OTHER": str(other.path)}
    answer = shoal(*(paths.get(word, word) for word in words))
    assert answer.code in (0, 1, 2)
    assert "Traceback" not in answer.err
    assert not ACTIVE.search(answer.out), answer.out
    assert not ACTIVE.search(answer.err), answer.err
    if "--json" in words:
        (line,) = answer.out.splitlines()
        assert json.loads(line)


@pytest.mark.parametrize("command", ["ls", "show", "logs", "compare"])
def test_on_a_terminal_only_colours_of_ours_act(command: str, runs: Path, tmp_path: Path) -> None:
    folder = hostile(runs)
    other = make_run(tmp_path / "elsewhere", "other", metrics={"test.loss": 2.0})
    words = [command, "--runs", str(runs)] if command == "ls" else [command, str(folder.path)]
    words += [str(other.path)] if command == "compare" else []
    here, there = pty.openpty()
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "shoal", *words], cwd=tmp_path, env=environment, stdout=there, stderr=there
    )
    os.close(there)
    shown = b""
    try:
        while part := os.read(here, 65_536):
            shown += part
    except OSError:  # the other end is closed
        pass
    assert process.wait(60) == 0
    text = re.sub(r"\x1b\[[\d;]*m|\r\n", "", shown.decode())  # what rich writes: colours
    assert "31mred" in text, "the text is there"
    assert not ACTIVE.search(text), text
    assert b"\x1b[31mred" not in shown


def test_the_page_has_one_script_and_no_other_tags_than_ours(runs: Path) -> None:
    from shoal.pages.report import report

    folder = hostile(runs)
    page = report(folder)
    head, _, body = page.partition("<body>")
    body, _, tail = body.rpartition("<script>")
    seen = Seen(body)
    assert not set(seen.tags) & {"script", "img", "iframe", "object", "a", "link", "meta", "base", "form", "style"}
    assert not [name for name in seen.attributes if name.startswith("on")]
    assert "Content-Security-Policy" in head
    assert "default-src 'none'" in html.unescape(head)
    assert tail.count("</script>") == 1
    assert not ACTIVE.search(page.replace("\t", ""))
    for name, value in seen.attributes.items():
        if name.startswith("data-") and value and value.startswith(("{", "[")):
            json.loads(value)
    for markup in (run_html(folder), runs_html(summaries(runs))):
        assert not set(Seen(markup).tags) & {"script", "img", "a", "style"}
        assert not ACTIVE.search(markup)


def test_no_cell_of_an_exported_history_is_a_formula_and_numbers_stay_numbers(
    shoal: Any, runs: Path, tmp_path: Path
) -> None:
    folder = hostile(runs)
    with Journal(folder.history) as history:
        for at, evil in enumerate(EVILS):
            history.append({"step": 8 + at, evil: evil, "text": evil, "lr": -0.5})
    assert shoal("export", folder.path, "--history", "h.csv").code == 0
    rows = list(csv.reader(io.StringIO((tmp_path / "h.csv").read_text(encoding="utf-8"), newline="")))
    assert len(rows) == 1 + 6 + 1 + len(EVILS)
    for row in rows:
        assert len(row) == len(rows[0])
        for cell in row:
            number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", cell)
            assert number or not cell.startswith(("=", "+", "-", "@", "\t", "\r")), cell
    assert float(rows[-1][rows[0].index("lr")]) == -0.5


def test_figures_hold_text_and_nothing_else(runs: Path, tmp_path: Path) -> None:
    for path in draw(hostile(runs), tmp_path / "figures"):
        assert path.parent == tmp_path / "figures"
        if path.suffix == ".svg":
            tags = {element.tag.rpartition("}")[2] for element in ElementTree.parse(path).iter()}
            assert not tags & {"script", "foreignObject", "a", "iframe"}
            assert not ACTIVE.search(path.read_text(encoding="utf-8"))
        else:
            with Image.open(path) as image:
                assert not [value for value in image.info.values() if isinstance(value, str) and ACTIVE.search(value)]


def test_a_training_prints_names_from_its_data_as_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Column names and classes of a table, file names, a path: all of them are somebody else's."""
    monkeypatch.chdir(tmp_path)
    evil = "\x1b]0;x\x07\u202e=cmd()<script>\x9b"
    table = tmp_path / f"{evil}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([f"{evil}a", "b", "y", f"{evil}const"])
        writer.writerows([[number % 7, number % 5, f"{evil}{number % 2}", evil] for number in range(200)])
    run = package.train(
        {
            "dataset.name": "table",
            "dataset.path": str(table),
            "dataset.target": "y",
            "dataset.ignore": [f"{evil}const"],
        },
        model={"name": "mlp", "width": 4},
        budget={"steps": 4},
        evaluate={"every": 2},
        log={"tensorboard": True},
        name="odd",
    )
    out, err = capfd.readouterr()
    log = run.location.log.read_text(encoding="utf-8")
    assert "training odd-" in out
    for text in (out, err, log, run.location.record.read_text(), run.location.history.read_text()):
        assert not ACTIVE.search(text), text
    assert not [name for name in scalars(run.location.tensorboard) if ACTIVE.search(name)]
    for name, value in hyperparameters(run.location.tensorboard).items():
        assert not ACTIVE.search(f"{name}{value}")
    labels = run.location.tensorboard / "projector" / "metadata.tsv"
    assert not labels.exists() or not ACTIVE.search(labels.read_text(encoding="utf-8"))


def test_a_broken_picture_and_an_array_left_out_are_named_as_text(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    evil = "\x1b[31m\u202e"
    for kind in ("cat", "dog"):
        (tmp_path / "pets" / kind).mkdir(parents=True)
        for number in range(12):
            Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / "pets" / kind / f"{number}.png")
    (tmp_path / "pets" / "cat" / f"{evil}.png").write_bytes(b"broken")
    np.savez(tmp_path / "a.npz", x=np.zeros((40, 3), "f4"), y=np.arange(40) % 2, **{evil: np.zeros(3)})
    quick = {"model": {"name": "mlp", "width": 4}, "budget": {"steps": 2}, "batch_size": 4, "runs": tmp_path / "runs"}
    package.train(
        {"dataset.name": "image_folder", "dataset.path": str(tmp_path / "pets"), "dataset.broken": "skip"}, **quick
    )
    package.train({"dataset.name": "arrays", "dataset.path": str(tmp_path / "a.npz")}, **quick)
    out, err = capfd.readouterr()
    assert "left out: 1 broken picture (cat/\\x1b[31m\\u202e.png)" in out
    assert "arrays left out: \\x1b[31m\\u202e" in out
    assert not ACTIVE.search(out + err)


@pytest.mark.parametrize("evil", EVILS)
def test_json_means_what_was_meant_and_does_not_act(evil: str) -> None:
    text = to_json({evil: [evil]})
    assert json.loads(text) == {evil: [evil]}
    assert not ACTIVE.search(text)
    text.encode()
