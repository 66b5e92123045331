"""The public door: what `import shoal` offers."""

from shoal.api.compare import compare
from shoal.api.load import load, runs
from shoal.api.open_run import open_run
from shoal.api.run import Run
from shoal.api.train import train
from shoal.assembly import dataset, model, optimizer, task
from shoal.datasets.text import from_text as text
from shoal.tasks import Metric, Task

__all__ = [
    "Metric",
    "Run",
    "Task",
    "compare",
    "dataset",
    "load",
    "model",
    "open_run",
    "optimizer",
    "runs",
    "task",
    "text",
    "train",
]
