"""The graph of a training step as a page and as a file of text: its operations and kernels, and the time of each.

What is shown is plain data, made by `assembly.step_graph`, which is what a file of JSON has.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoal.pages.blocks import Block, Column, Grid, Heading, Lines, Pairs, plain
from shoal.pages.formats import clean, count, duration, moment

FORMAT = "shoal graph 1"
TITLE = "Shoal graph"
BRANCHES = ("where it holds", "where it does not")

Data = Mapping[str, Any]


def is_graph(path: Path) -> bool:
    """Return whether a file is a graph that was written here."""
    try:
        with path.open("rb") as file:
            head = file.read(100)
    except OSError:
        return False
    return head.startswith(f"{TITLE}: ".encode()) or f'"format": "{FORMAT}"'.encode() in head


def graph_page(graph: Data) -> list[Block]:
    """Return what is shown of a graph: times of the step, operations by kind, kernels."""
    return [
        Heading(f"{clean(graph['name'])}: one training step"),
        Pairs(_facts(graph)),
        Heading("Operations before fusion"),
        _operations(graph["program"]),
        Heading("Kernels after fusion"),
        *_kernels(graph),
    ]


def graph_text(graph: Data) -> str:
    """Return the whole graph as text: a line an operation, in order, then the kernels."""
    lines = [f"{TITLE}: one training step of {clean(graph['name'])}", "", *plain([Pairs(_facts(graph))])]
    lines += ["", "inputs", *plain([Grid(INPUTS, [_input(given) for given in graph["inputs"]], header=False)])]
    lines += _program(graph["program"])
    lines += ["", "kernels after fusion", *plain(_kernels(graph, full=True))]
    return "\n".join(lines) + "\n"


def _facts(graph: Data) -> list[tuple[str, str]]:
    seconds, total, replayed = graph["seconds"], graph["operations"], graph["replayed"]
    once = total - replayed
    threads = f", {graph['threads']} thread{'s' if graph['threads'] != 1 else ''}" if graph["device"] == "cpu" else ""
    facts = [
        ("batch", f"{count(graph['batch'])} examples, {graph['precision']}, on {graph['device']}{threads}"),
        ("recorded", f"{count(total)} operations: the model's, those of its gradient and of the optimizer"),
        ("replayed", f"{count(replayed)} at each step; {count(once)} only look at the state, or are constant"),
        ("eager", f"{moment(seconds['eager'])} a step"),
        ("captured", f"{moment(seconds['captured'])} a step{_against(seconds, 'captured')}"),
    ]
    if seconds["compiled"] is not None:
        took = f"; compiling took {duration(graph['compile_seconds'])}"
        facts.append(("compiled", f"{moment(seconds['compiled'])} a step{_against(seconds, 'compiled')}{took}"))
    return facts


def _against(seconds: Data, name: str) -> str:
    return f", {seconds['eager'] / seconds[name]:.3g} times as fast" if seconds[name] < seconds["eager"] else ""


KINDS = (
    Column("operation"),
    Column("calls", right=True),
    Column("µs a step", right=True),
    Column("share", right=True),
)
KERNELS = (*KINDS[1:], Column("kernel or library call"))
INPUTS = (Column("name"), Column("tensor"))


def _operations(program: Sequence[Data]) -> Grid:
    """The replayed operations by kind, the longest first."""
    spent: dict[str, list[float]] = {}
    for operation in program:
        if operation["replayed"]:
            spent.setdefault(operation["operation"], []).append(operation["seconds"])
    whole = sum(map(sum, spent.values()))
    longest = sorted(spent.items(), key=lambda item: -sum(item[1]))
    rows = [[clean(name), count(len(times)), *_spent(sum(times), whole)] for name, times in longest]
    return Grid(KINDS, [*rows, ["all, one by one", count(sum(map(len, spent.values()))), *_spent(whole, whole)]])


def _spent(seconds: float | None, whole: float) -> list[str]:
    if seconds is None:
        return ["-", "-"]
    return [f"{seconds * 1e6:,.1f}", f"{seconds / whole:.0%}" if whole else "-"]


def _kernels(graph: Data, *, full: bool = False) -> list[Block]:
    """The kernels, the longest first, or why there are none. `full` gives them their whole names."""
    kernels: Sequence[Data] | None = graph["compiled"]
    if kernels is None:
        return [Lines([f"There are none: {graph['not_compiled']}."])]
    whole = sum(kernel["seconds"] or 0.0 for kernel in kernels)
    rows = [
        ["-" if kernel["calls"] is None else f"{kernel['calls']:g}", *_spent(kernel["seconds"], whole), name]
        for kernel in kernels
        for name in [kernel["name"] if full else _short(kernel)]
    ]
    calls = sum(kernel["calls"] or 0.0 for kernel in kernels)
    rest = max(graph["seconds"]["compiled"] - whole, 0.0)
    told = [
        f"Compiled, the optimizer is written out, so that it fuses: {count(graph['to_fuse'])} operations became "
        f"{count(graph['kernels'])} kernels and {count(graph['library_calls'])} library calls. Beside them a step "
        f"takes {moment(rest)} to call them and to allocate."
    ]
    return [Lines(told), Grid(KERNELS, [*rows, [f"{calls:g}", *_spent(whole, whole), "all"]])]


def _short(kernel: Data) -> str:
    """A generated kernel by its number and what it fuses; a library call by its name."""
    name = clean(kernel["name"])
    if not kernel["generated"]:
        return name
    kind, _, number = name.partition("_fused_")[0], "", name.rpartition("_")[2]
    return f"{kind} {number}: {', '.join(kernel['operations']) or name}"


def _program(program: Iterable[Data]) -> list[str]:
    """Every operation in order, under the part of the step and the module that it comes from."""
    lines: list[str] = []
    phase = module = None
    for operation in program:
        if operation["phase"] is not None and operation["phase"] != phase:
            phase, module = operation["phase"], None
            lines += ["", phase]
        if operation["phase"] is not None and operation["module"] != module:
            module = operation["module"]
            lines.append(f"{'':12}# {module or 'the model itself'}")
        lines += _lines(operation, "")
    return lines


def _lines(operation: Data, indent: str) -> list[str]:
    given = ", ".join(operation["inputs"])
    time = "once" if not operation["replayed"] else moment(operation["seconds"])
    said = f"{operation['name']} = {operation['operation']}({given}) -> {_returned(operation['returns'])}"
    lines = [f"{time:>10}  {indent}{said}"]
    for told, inner in zip(BRANCHES, operation["inside"], strict=False):
        lines.append(f"{'':12}{indent}  # {told}:")
        lines += [line for one in inner for line in _lines(one, f"{indent}    ")]
    return lines


def _input(given: Data) -> list[str]:
    return [f"  {clean(given['name'])}", _tensor(given)]


def _returned(tensors: Sequence[Data]) -> str:
    return ", ".join(map(_tensor, tensors)) or "nothing"


def _tensor(tensor: Data) -> str:
    return f"{tensor['dtype']}{list(tensor['shape'])}"
