"""From a recipe, and objects passed from Python, to a training that runs: model, batches, hypers, engine, recorder.

`conduct` is the life of one run, from a recipe to a finished folder; `build` makes what it needs.
"""

from shoal.assembly.build import Workshop
from shoal.assembly.conduct import conduct
from shoal.assembly.export import export
from shoal.assembly.extension import extend
from shoal.assembly.network import build_model
from shoal.assembly.objects import Objects, from_python
from shoal.assembly.registry import dataset, import_modules, model, optimizer, task
from shoal.assembly.screen import Screen
from shoal.assembly.step_graph import step_graph
from shoal.assembly.testing import test_run
from shoal.assembly.trained import recipe_of, trained_model

__all__ = [
    "Objects",
    "Screen",
    "Workshop",
    "build_model",
    "conduct",
    "dataset",
    "export",
    "extend",
    "from_python",
    "import_modules",
    "model",
    "optimizer",
    "recipe_of",
    "step_graph",
    "task",
    "test_run",
    "trained_model",
]
