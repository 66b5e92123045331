"""Every notebook is stored without outputs, and runs from the top in a kernel of its own."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_is_stored_without_outputs(file: Path) -> None:
    page = nbformat.read(file, as_version=4)
    nbformat.validate(page)
    assert 8 <= len(page.cells) <= 16
    assert not any(cell.get("outputs") or cell.get("execution_count") for cell in page.cells)


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_from_the_top(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    page = nbformat.read(file, as_version=4)
    client = NotebookClient(page, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [output for cell in page.cells for output in cell.get("outputs", [])]
    assert not [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"]
    shown = [output.data["text/html"] for output in outputs if "text/html" in output.get("data", {})]
    assert sum("✓ finished" in html and "<svg" in html for html in shown) == 2
    assert sum("<progress" in html and "step 234 of 234 in " in html for html in shown) == 1
    assert len(list((tmp_path / "runs").glob("*/seed-0"))) == 4
