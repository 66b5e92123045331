from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

SMALL = ["graph", "digits_mlp", "model.width=4", "batch_size=8"]
QUICK = [*SMALL, "--no-compile"]

BRANCHING = """
import shoal
from torch import nn

@shoal.model("with_if")
class WithIf(nn.Module):
    def __init__(self, input_shape: tuple[int, ...], outputs: int):
        super().__init__()
        self.output = nn.Linear(64, outputs)

    def forward(self, x):
        return self.output(x.flatten(1)) if x.mean() > 0 else self.output(-x.flatten(1))
"""


def test_a_graph_is_shown_and_every_operation_written(shoal: Any, tmp_path: Path) -> None:
    answer = shoal(*QUICK)
    assert answer.code == 0
    assert answer.lines[0] == "digits_mlp: one training step"
    assert answer.lines[1].startswith("batch     8 examples, fp32, on cpu")
    facts = {line.split()[0]: line for line in answer.lines[1:6]}
    assert set(facts) == {"batch", "recorded", "replayed", "eager", "captured"}
    assert any(line.startswith("addmm  ") for line in answer.lines)
    assert "There are none: --no-compile leaves them out." in answer.lines
    assert answer.lines[-1].startswith("digits_mlp.graph.txt (")
    text = (tmp_path / "digits_mlp.graph.txt").read_text()
    recorded = int(facts["recorded"].split()[1].replace(",", ""))
    assert sum(" = " in line for line in text.splitlines()) == recorded
    assert {"weights", "forward", "loss", "backward", "measures", "update"} <= set(text.splitlines())
    assert "            # output" in text.splitlines()  # a module of the network
    assert [path.name for path in tmp_path.iterdir()] == ["digits_mlp.graph.txt"]  # no run was made


def test_json_is_one_object_and_a_json_file_has_the_rest(shoal: Any, tmp_path: Path) -> None:
    answer = shoal(*QUICK, "-o", "new/step.json", "--json")
    (line,) = answer.lines
    told, kept = json.loads(line), json.loads((tmp_path / "new" / "step.json").read_text())
    assert told["file"] == "new/step.json"
    assert told["name"] == "digits_mlp"
    assert 0 < told["replayed"] < told["operations"] == len(kept["program"])
    assert told["kernels"] is None
    assert told["not_compiled"] == "--no-compile leaves them out"
    assert told["seconds"]["compiled"] is None
    assert told["seconds"]["captured"] > 0
    assert {key: value for key, value in told.items() if key != "file"}.items() <= kept.items()
    product = next(operation for operation in kept["program"] if operation["operation"] == "addmm")
    assert product["returns"] == [{"dtype": "float32", "shape": [8, 4]}]
    assert product["inputs"][1] == "view_4"  # the inputs, flattened
    assert product["phase"] == "forward"
    assert product["seconds"] > 0


def test_a_graph_is_replaced_and_any_other_file_is_refused(shoal: Any, tmp_path: Path) -> None:
    target = tmp_path / "digits_mlp.graph.txt"
    target.write_text("mine")
    answer = shoal(*QUICK)
    assert (answer.code, answer.out, target.read_text()) == (2, "", "mine")
    assert "is no graph of Shoal's: say --force, or another -o FILE." in answer.err
    assert shoal(*QUICK, "--force").code == 0
    assert target.read_text().startswith("Shoal graph: ")
    assert shoal(*QUICK).code == 0


def test_without_a_compiler_a_sentence_stands_for_the_kernels(shoal: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.training.compiled.no_compiler", lambda: "there is no C++ compiler on this machine")
    answer = shoal(*SMALL)
    assert answer.code == 0
    assert "There are none: there is no C++ compiler on this machine." in answer.lines


def test_a_step_that_cannot_be_recorded_is_refused_in_one_sentence(
    shoal: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "with_if_module.py").write_text(BRANCHING)
    monkeypatch.syspath_prepend(str(tmp_path))
    answer = shoal("graph", "--module", "with_if_module", "model=with_if", "--json")
    assert (answer.code, answer.out) == (2, "")
    last = answer.err.splitlines()[-1]
    assert last.startswith("shoal: the step cannot be recorded: Python asks for the value of a tensor in the step (")
    assert "with_if_module.py, line 12, in forward): torch.cond records such a branch." in last
    assert not list(tmp_path.glob("*.graph.txt"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["digts"], "did you mean 'digits'?"),
        (["digits", "optimizer=lbfgs", "batch_size=all"], "lbfgs has no rule"),
        (["digits_mlp", "model.width=4", "-o", "file/graph.txt", "--no-compile"], "cannot write 'file/graph.txt'"),
    ],
)
def test_bad_input_is_said(shoal: Any, tmp_path: Path, words: list[str], message: str) -> None:
    (tmp_path / "file").write_text("a file, no folder")
    answer = shoal("graph", *words)
    assert (answer.code, answer.out) == (2, "")
    assert message in answer.err


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++"))), reason="needs a C++ compiler")
def test_kernels_are_named_counted_and_timed(shoal: Any, tmp_path: Path) -> None:
    answer = shoal(*SMALL, "-o", "step.json")
    assert answer.code == 0
    kept = json.loads((tmp_path / "step.json").read_text())
    written = [kernel for kernel in kept["compiled"] if kernel["generated"]]
    assert kept["kernels"] == len(written) < kept["to_fuse"]
    assert all(kernel["name"].startswith("cpp_fused_") and kernel["operations"] for kernel in written)
    library = {kernel["name"]: kernel["calls"] for kernel in kept["compiled"] if not kernel["generated"]}
    assert library["aten::addmm"] == 2
    assert kept["library_calls"] == sum(library.values())
    if sys.platform == "linux":  # elsewhere a kernel does not announce itself
        assert all(kernel["calls"] == 1 and kernel["seconds"] > 0 for kernel in written)
    assert kept["seconds"]["compiled"] > 0
    assert any("cpp 0: " in line for line in answer.lines)
