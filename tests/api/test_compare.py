"""`shoal.compare`: the same as on the command line, as an object that shows itself."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import pytest
from tests.pages.test_markup import EVIL, Seen
from tests.synthetic import make_run
from tests.synthetic_sweep import make_sweep

import shoal
from shoal.cli import main
from shoal.errors import InputError, StoreError


def test_a_comparison_shows_itself_and_is_what_the_command_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = make_sweep(tmp_path, grid={"optimizer.lr": [0.01, 0.1]}, seeds=3, epochs=5)
    labels = [sweep.points[at].run.partition("/")[0] for at in (0, 3)]
    found = shoal.compare(*labels, runs=tmp_path)
    main(["compare", *labels, "--runs", str(tmp_path)])
    assert repr(found) == capsys.readouterr().out.rstrip("\n")
    main(["compare", *labels, "--runs", str(tmp_path), "--json"])
    assert json.loads(json.dumps(found.data)) == json.loads(capsys.readouterr().out)
    assert found.verdicts[0].startswith("test.accuracy: B is better than A by ")
    assert found.verdicts[0] in html.unescape(found._repr_html_())


def test_runs_and_folders_are_compared_too(tmp_path: Path) -> None:
    first = make_run(tmp_path, "a", metrics={"valid.loss": 1.0})
    make_run(tmp_path, "b", metrics={"valid.loss": 2.0})
    found = shoal.compare(shoal.load(first.path), "b", runs=str(tmp_path))
    assert found.verdicts == ["valid.loss: not known: B is 1 higher than A, each measured once; train more seeds"]
    with pytest.raises(InputError, match="alone cannot be compared"):
        shoal.compare("a", runs=tmp_path)
    with pytest.raises(StoreError, match="no run 'c'"):
        shoal.compare("a", "c", runs=tmp_path)


def test_nothing_in_a_run_becomes_markup(tmp_path: Path) -> None:
    evil: dict[str, Any] = {
        "host": EVIL,
        "reason": EVIL,
        "said": [{"key": EVIL, "value": EVIL, "default": None}],
        "metrics": {f"valid.{EVIL}": 0.5},
        "plan": {EVIL: EVIL},
        "identity": {"digests": {EVIL: EVIL}, "recipe": {EVIL: EVIL}},
    }
    make_run(tmp_path, "a", status="failed", **evil).patch.write_text(f"diff --git a/{EVIL} b/{EVIL}\n")
    make_run(tmp_path, "b", metrics={f"valid.{EVIL}": 0.4})
    found = shoal.compare("a", "b", runs=tmp_path)
    assert not {"script", "img"} & set(Seen(found._repr_html_()).tags)
    assert not set("\x00\x1b\u202e") & set(repr(found))
