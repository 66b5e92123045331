from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from shoal.files import to_json
from shoal.pages.blocks import plain
from shoal.pages.step_graph import FORMAT, graph_page, graph_text, is_graph


def tensor(*shape: int) -> dict[str, Any]:
    return {"dtype": "float32", "shape": list(shape)}


def operation(name: str, kind: str, inputs: list[str], **more: Any) -> dict[str, Any]:
    rest = {"returns": [tensor(4)], "seconds": 2e-6, "replayed": True, "phase": "forward", "module": None, "inside": []}
    return {"name": name, "operation": kind, "inputs": inputs, **rest, **more}


BRANCH = [operation("cond.sin", "sin", ["mul"], seconds=None, phase=None)]
GRAPH: dict[str, Any] = {
    "format": FORMAT, "name": "digits", "batch": 32, "precision": "fp32", "device": "cpu", "threads": 2,
    "seconds": {"eager": 4e-4, "captured": 2e-4, "compiled": 1e-4}, "operations": 5, "replayed": 4,
    "compile_seconds": 12.4, "to_fuse": 40, "kernels": 1, "library_calls": 2, "not_compiled": None,
    "inputs": [{"name": "parameters.weight", **tensor(2, 2)}],
    "program": [
        operation("t", "t", ["parameters.weight"], replayed=False, phase="weights"),
        operation("mul", "mul.Tensor", ["t", "2.0"], module="first", seconds=1e-6),
        operation("mul_1", "mul.Tensor", ["mul", "mul"], module="first", seconds=3e-6),
        operation("cond", "cond", ["mul_1"], seconds=1.6e-5, inside=[BRANCH, []]),
        operation("sum_1", "sum", ["cond[0]"], phase="backward", returns=[]),
    ],
    "compiled": [
        {"name": "aten::mm", "generated": False, "operations": [], "calls": 2.0, "seconds": 3e-5},
        {"name": "cpp_fused_mul_sin_0", "generated": True, "operations": ["mul", "sin"], "calls": 1.0,
         "seconds": 1e-5},
    ],
}  # fmt: skip


def words(graph: dict[str, Any]) -> list[list[str]]:
    return [line.split() for line in plain(graph_page(graph))]


def test_a_page_groups_the_replayed_operations_the_longest_first() -> None:
    shown = words(GRAPH)
    start = shown.index(["operation", "calls", "µs", "a", "step", "share"])
    assert shown[start + 1 : start + 5] == [
        ["cond", "1", "16.0", "73%"],
        ["mul.Tensor", "2", "4.0", "18%"],
        ["sum", "1", "2.0", "9%"],
        ["all,", "one", "by", "one", "4", "22.0", "100%"],
    ]


def test_a_page_has_the_time_of_the_whole_step() -> None:
    text = "\n".join(plain(graph_page(GRAPH)))
    assert "eager     400 µs a step\n" in text
    assert "captured  200 µs a step, 2 times as fast\n" in text
    assert "compiled  100 µs a step, 4 times as fast; compiling took 12 s\n" in text
    assert "4 at each step; 1 only look at the state, or are constant" in text
    assert "32 examples, fp32, on cpu, 2 threads" in text


def test_a_page_has_kernels_and_what_they_fuse() -> None:
    text = "\n".join(plain(graph_page(GRAPH)))
    assert "40 operations became 1 kernels and 2 library calls" in text
    assert ["2", "30.0", "75%", "aten::mm"] in words(GRAPH)
    assert ["1", "10.0", "25%", "cpp", "0:", "mul,", "sin"] in words(GRAPH)
    assert "60 µs to call them" in text  # of 100


def test_kernels_without_times_have_none() -> None:
    graph = copy.deepcopy(GRAPH)
    graph["compiled"][1] |= {"calls": None, "seconds": None}
    assert ["-", "-", "-", "cpp", "0:", "mul,", "sin"] in words(graph)


def test_without_a_compiled_step_a_sentence_says_why() -> None:
    graph = {**GRAPH, "compiled": None, "not_compiled": "there is no C++ compiler"}
    graph["seconds"] = {**GRAPH["seconds"], "compiled": None}
    for text in ("\n".join(plain(graph_page(graph))), graph_text(graph)):
        assert "There are none: there is no C++ compiler." in text
        assert "compiled  " not in text


def test_the_file_has_every_operation_under_its_part_and_module() -> None:
    lines = graph_text(GRAPH).splitlines()
    assert "  parameters.weight  float32[2, 2]" in lines
    start = lines.index("weights")
    assert lines[start : start + 14] == [
        "weights",
        "      once  t = t(parameters.weight) -> float32[4]",
        "",
        "forward",
        "            # first",
        "      1 µs  mul = mul.Tensor(t, 2.0) -> float32[4]",
        "      3 µs  mul_1 = mul.Tensor(mul, mul) -> float32[4]",
        "            # the model itself",
        "     16 µs  cond = cond(mul_1) -> float32[4]",
        "              # where it holds:",
        "         -      cond.sin = sin(mul) -> float32[4]",
        "              # where it does not:",
        "",
        "backward",
    ]
    assert any(line.endswith("  cpp_fused_mul_sin_0") for line in lines)


@pytest.mark.parametrize("content", [graph_text(GRAPH), to_json(GRAPH, indent=1)], ids=["text", "json"])
def test_a_file_is_known_again(tmp_path: Path, content: str) -> None:
    path = tmp_path / "graph"
    path.write_text(content)
    assert is_graph(path)


@pytest.mark.parametrize("content", ["", "Shoal graphs are mine", '{"format": "mine"}'])
def test_any_other_file_is_no_graph(tmp_path: Path, content: str) -> None:
    path = tmp_path / "graph"
    assert not is_graph(path)
    path.write_text(content)
    assert not is_graph(path)
