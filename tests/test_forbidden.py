"""What no module of Shoal does, whatever it is given: run text as code, unpickle, unpack, listen, start a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "shoal"
MODULES = sorted(SRC.rglob("*.py"))

CALLS = {
    *("eval", "exec", "compile", "__import__", "os.system", "os.popen", "instantiate", "hydra.utils.instantiate"),
    *(
        "pickle.load",
        "pickle.Unpickler",
        "marshal.loads",
        "shelve.open",
        "dill.loads",
        "cloudpickle.loads",
        "joblib.load",
    ),
    *("torch.hub.load", "yaml.unsafe_load", "yaml.full_load", "tempfile.mktemp", "webbrowser.open"),
    *("subprocess.getoutput", "subprocess.call"),
}
"""Calls that are nowhere."""
ONLY_IN = {
    "torch.load": {"checkpoints/load.py"},
    "pickle.loads": {"datasets/crew.py"},  # of an exception that this process has just pickled
    "yaml.load": {"recipe/yaml_text.py"},  # with a subclass of the safe loader
    "np.load": {"datasets/arrays.py", "datasets/digits.py", "assembly/raw_inputs.py"},
    "subprocess.run": {"cli/slurm.py", "store/git.py", "training/precision.py"},
    "importlib.import_module": {"assembly/registry.py", "training/compiled.py", "training/kernels.py"},
}
"""Calls that are in one place, where they are looked after."""
MODULES_OF_SERVERS = {
    "socket",
    "socketserver",
    "http.server",
    "xmlrpc",
    "asyncio",
    "ftplib",
    "urllib.request",
    "requests",
}
CONSTANT_NAMES = {"__init__.py", "datasets/table_file.py", "assembly/event_file.py", "assembly/export.py"}
"""Where the name of a module that is imported is put together, of constants."""


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield dotted(node.func), node


def place(path: Path) -> str:
    return path.relative_to(SRC).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_a_module_runs_nothing_that_it_is_given(path: Path) -> None:
    for name, call in calls(path):
        last = name.rpartition(".")[2]
        assert name not in CALLS, name
        assert not (name and last in ("extractall", "unsafe_load", "add_safe_globals")), name
        assert place(path) in ONLY_IN.get(name, {place(path)}), name
        given = {keyword.arg: keyword.value for keyword in call.keywords}
        assert "shell" not in given, "an argument list needs no shell"
        for key, value in (("weights_only", True), ("allow_pickle", False)):
            if key in given:
                assert isinstance(given[key], ast.Constant)
                assert given[key].value is value  # pyright: ignore[reportAttributeAccessIssue]
        if name in ("torch.load", "np.load"):
            assert given.keys() & {"weights_only", "allow_pickle"}, f"{name} says what it does with pickles"
        if last == "import_module" and place(path) not in CONSTANT_NAMES | ONLY_IN["importlib.import_module"]:
            assert isinstance(call.args[0], ast.Constant), "nothing is imported because data say so"


@pytest.mark.parametrize("path", MODULES, ids=place)
def test_no_module_listens_or_asks_the_network(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not MODULES_OF_SERVERS & set(names)
